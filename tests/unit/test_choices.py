"""Answers by log-probability: what is taken, how often it is right, and that no reported item has a part in it."""

import json

import numpy as np
import pytest
import select_heads
import tabulate_choices

from wheretolisten import store
from wheretolisten.config.studies import Choosing
from wheretolisten.directions.heads import listening_signal
from wheretolisten.questions.splits import CALIBRATION, REPORT
from wheretolisten.statistics.choices import correct, divergence, mass_on_choices, taken
from wheretolisten.store import Choices

PASSES = ("unsteered", "prompt_only", "silence", "other_recording")


def choices_of(likely, right, **others) -> Choices:
    """Choices [item, pass, wording, choice] by log-probability, about a recording each."""
    likely, n = np.asarray(likely, np.float32), len(likely)
    given = {
        "item_id": np.array([f"{row:03d}" for row in range(n)]),
        "recording": np.array([f"{row:03d}.flac" for row in range(n)]),
        "right": np.asarray(right, np.float32),
        "groups": [["difficulty: easy"]] * n,
        "passes": PASSES[: likely.shape[1]],
        "n_tokens": np.where(np.isfinite(likely[:, 0, 0]), 1.0, np.nan).astype(np.float32),
        "choices": likely,
        "letters": likely,
        "words": np.full(likely.shape[:3], np.nan, np.float32),
        "head_mass": None,
    }
    return Choices(**(given | others))


def test_choices_are_taken_by_whole_texts_by_tokens_by_letters_and_by_words():
    likely = np.log([[[[0.5, 0.4, np.nan]]], [[[0.1, 0.2, 0.6]]]])
    found = choices_of(
        likely,
        [1, 2],
        n_tokens=np.array([[1, 2, np.nan], [1, 1, 1]]),
        letters=np.log([[[[0.1, 0.2, np.nan]]], [[[0.3, 0.2, 0.1]]]]),
        words=np.array([[[1.0]], [[-1.0]]]),
    )
    assert taken(found, "choice").ravel().tolist() == [0, 2]
    assert taken(found, "per_token").ravel().tolist() == [1, 2]  # log 0.4 / 2 is more than log 0.5
    assert taken(found, "letter").ravel().tolist() == [1, 0]
    expected = {"choice": [0, 1], "per_token": [1, 1], "letter": [1, 0], "words": [1, 0]}
    assert {score: correct(found, score)[0].tolist() for score in expected} == expected


def test_an_item_counts_by_the_share_of_its_wordings_that_are_right():
    likely = np.full((2, 1, 3, 3), np.nan)
    likely[0, 0] = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    likely[1, 0, :2, :2] = np.log([[0.1, 0.9], [0.2, 0.8]])  # two choices, hence two wordings
    found = choices_of(likely, [0, 1])
    np.testing.assert_allclose(correct(found, "choice"), [[2 / 3, 1]])
    left_out = choices_of(np.full((1, 1, 1, 2), np.nan), [0])
    assert np.isnan(correct(left_out, "choice")).all()


def test_side_effects_are_the_mass_on_choices_and_the_divergence():
    before, after = np.array([0.4, 0.4]), np.array([0.09, 0.01])
    found = choices_of(np.log([[[before], [after]]]), [0])
    np.testing.assert_allclose(mass_on_choices(found), [[0.8], [0.1]], rtol=1e-6)
    p, q = before / before.sum(), after / after.sum()
    np.testing.assert_allclose(divergence(found, "unsteered"), [[0], [(p * np.log(p / q)).sum()]], rtol=1e-5, atol=1e-7)


def planted(n=120, n_layers=3, n_heads=4, seed=0):
    """Answers that are right where head 1 of block 2 looks at the audio, and noise elsewhere."""
    rng = np.random.default_rng(seed)
    is_right = rng.random(n) < 0.5
    mass = rng.uniform(0.2, 0.4, (n, n_layers, n_heads)).astype(np.float32)
    mass[:, 2, 1] = 0.2 + 0.5 * is_right + rng.uniform(0, 0.1, n)
    likely = np.log(np.where(is_right[:, None], [0.7, 0.2], [0.2, 0.7]))
    return mass, np.repeat(likely[:, None, None], len(PASSES), axis=1), is_right


def write(path, found: Choices):
    """As a job writes it."""
    schema = store.schema.choices("choose_answers", found.head_mass is not None)
    result = store.PartedFile(path, schema, "identity", {"model": "mine", "passes": list(found.passes)})
    columns = {
        "sample_id": store.texts(found.item_id),
        "recording": store.texts(found.recording),
        "groups": store.texts(["\n".join(groups) for groups in found.groups]),
    }
    names = [name for name in schema.column_names if name not in columns]
    result.write(0, columns | {name: getattr(found, name) for name in names})
    result.merge(1)
    return path


def select(folder, choices, choosing):
    path = folder / "heads.json"
    arguments = ["--choices", str(choices), "--events", "--choosing", choosing.as_json(), "--model", "mine"]
    select_heads.main([*arguments, "--output", str(path)])
    return path


def files_of(folder, steered: Choices, selected):
    """Files of a study whose methods are written already, beside what its heads do."""
    heads = write(folder / "heads.h5", steered)
    return {"identity": "mine", "methods": [folder / "methods.h5"], "heads": [heads], "selected": selected}


def test_the_planted_head_is_found_and_tells_right_answers_where_random_heads_do_not(tmp_path):
    mass, likely, _ = planted()
    found = choices_of(likely, np.zeros(len(likely)), head_mass=mass)
    choosing = Choosing(n_heads=[1, 2], strengths=[0.5, 1.0])
    selected = select(tmp_path, write(tmp_path / "methods.h5", found), choosing)
    recorded = json.loads(selected.read_text())
    assert recorded["passes"]["listening_heads_1_0.5"]["heads"] == [[2, 1]]
    assert [2, 1] not in recorded["passes"]["random_heads_2_1"]["heads"]
    steered = choices_of(
        np.repeat(likely[:, :1], len(recorded["passes"]), axis=1),
        np.zeros(len(likely)),
        passes=tuple(recorded["passes"]),
    )
    files = files_of(tmp_path, steered, selected)
    tables = tabulate_choices.tabulate(choosing, files)
    areas = tables["areas"].set_index("heads")["area"]
    assert areas["listening_heads"] == 1
    assert abs(areas["random_heads"] - 0.5) < 0.15
    # Nothing is better than anything: the mildest setting is taken, and nothing is gained.
    rows = tables["table"][tables["table"]["score"] == "choice"].set_index("method")
    assert rows.loc["listening_heads", "setting"] == "listening_heads_1_0.5"
    assert rows.loc["listening_heads", "difference"] == 0
    assert rows.loc["listening_heads", "divergence"] == 0
    assert rows["n_items"].unique() == [sum(side == REPORT for side in recorded["sides"].values())]


def test_what_reported_items_would_say_has_no_part_in_heads_and_strengths(tmp_path):
    mass, likely, is_right = planted()
    choosing = Choosing(n_heads=[1], strengths=[0.5, 1.0])
    found = choices_of(likely, np.zeros(len(likely)), head_mass=mass)
    selected = select(tmp_path, write(tmp_path / "methods.h5", found), choosing)
    sides = np.array(list(json.loads(selected.read_text())["sides"].values()))
    # On reported items another head carries the evidence, and the strength that fails on the others is always right.
    other = mass.copy()
    other[sides == REPORT, 2, 1] = 0.3
    other[sides == REPORT, 0, 0] = is_right[sides == REPORT]
    changed = choices_of(likely, np.zeros(len(likely)), head_mass=other)
    again = select(tmp_path / "again", write(tmp_path / "again/methods.h5", changed), choosing)
    assert json.loads(again.read_text()) == json.loads(selected.read_text())
    names = tuple(json.loads(selected.read_text())["passes"])
    right, wrong = np.log([0.9, 0.1]), np.log([0.1, 0.9])
    steered = np.empty((len(likely), len(names), 1, 2))
    for number, name in enumerate(names):
        good_on = CALIBRATION if name.endswith("_1") else REPORT
        steered[:, number, 0] = np.where((sides == good_on)[:, None], right, wrong)
    files = files_of(tmp_path, choices_of(steered, np.zeros(len(likely)), passes=names), selected)
    table = tabulate_choices.tabulate(choosing, files)["table"]
    row = table[(table["score"] == "choice") & (table["method"] == "listening_heads")].iloc[0]
    assert (row["setting"], row["accuracy_pct"]) == ("listening_heads_1_1", 0)


def test_answers_that_are_all_alike_choose_no_head(tmp_path, caplog):
    mass, likely, _ = planted()
    likely[:] = np.log([0.9, 0.1])
    choosing = Choosing(n_heads=[2])
    found = choices_of(likely, np.zeros(len(likely)), head_mass=mass)
    selected = select(tmp_path, write(tmp_path / "methods.h5", found), choosing)
    recorded = json.loads(selected.read_text())
    assert all(not setting["heads"] for setting in recorded["passes"].values())
    assert "no head goes with right answers" in caplog.text
    nothing = choices_of(
        np.full((len(likely), 8, 1, 2), np.nan), np.zeros(len(likely)), passes=tuple(recorded["passes"])
    )
    files = files_of(tmp_path, nothing, selected)
    tables = tabulate_choices.tabulate(choosing, files)
    assert set(tables["table"]["method"]) == set(PASSES)
    assert list(tables["areas"]["heads"]) == ["all_heads"]


def test_too_few_items_are_reported_without_heads(tmp_path, caplog):
    mass, likely, _ = planted(n=2)
    found = choices_of(likely, np.zeros(2), head_mass=mass)
    recorded = json.loads(select(tmp_path, write(tmp_path / "methods.h5", found), Choosing()).read_text())
    assert set(recorded["sides"].values()) == {REPORT}
    assert all(not setting["heads"] for setting in recorded["passes"].values())
    assert "no heads are chosen: " in caplog.text
    assert "ask more items, about more recordings" in caplog.text


def test_withheld_answers_are_left_out(tmp_path):
    mass, likely, _ = planted()
    right = np.zeros(len(likely))
    right[::2] = np.nan
    found = choices_of(likely, right, head_mass=mass)
    written, choosing = write(tmp_path / "methods.h5", found), Choosing(n_heads=[])
    files = {"identity": "mine", "methods": [written], "heads": [], "selected": select(tmp_path, written, choosing)}
    tables = tabulate_choices.tabulate(choosing, files)
    # Where nothing is chosen, all is reported.
    assert len(tables["signals"]) == len(found.item_id) / 2
    signals = tables["signals"]
    assert set(signals["item_id"]) <= set(found.item_id[1::2])
    rows = [list(found.item_id).index(item) for item in signals["item_id"]]
    everything = list(np.ndindex(3, 4))
    np.testing.assert_allclose(signals["signal"], listening_signal(mass[rows], everything))
    assert set(tables["groups"]["group"]) == {"difficulty: easy"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "the choice"}, "answer must contain {choice}"),
        ({"score": "words"}, "set max_new_tokens, or another score"),
        ({"strengths": [1, 1.0]}, "strengths '1' is listed twice"),
    ],
)
def test_choosing_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Choosing(**change)
