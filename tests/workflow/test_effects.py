"""Every shipped study of what steering does to answers goes through the workflow, on a tiny model and a few pairs."""

import pandas as pd
import pytest
import yaml

from tests.engine import families
from wheretolisten.config.interruption import INTERRUPTION
from wheretolisten.config.studies import OF_PAIRS
from wheretolisten.config.unlearning import FORGET, RETAIN, REWORDED
from wheretolisten.effects.pairs import read_pairs
from wheretolisten.tiny import duplex

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

FEW = {
    **{"n_build": 8, "n_choose": 3, "n_report": 4, "n_generated": 2, "max_new_tokens": 3},
    **{"n_neutral": 2, "n_guardrail": 2, "limit": 100.0},
}


def small_overlay(root):
    """All of `profiles/studies` that read effects in one, about few pairs, by a model that has learnt interruptions."""
    found = {"examples": {}, "studies": {}, "models": {}}
    for path in sorted((root / "profiles/studies").glob("*.yaml")):
        overlay = yaml.safe_load(path.read_text())
        if "models" not in overlay:  # one that is laid over another
            continue
        for name, study in overlay.get("studies", {}).items():
            if (study or {}).get("readout") not in OF_PAIRS:
                continue
            for section in ("examples", "models"):
                found[section] |= overlay[section]
            found["studies"] |= {key: None for key, each in overlay["studies"].items() if each is None}
            found["figures"], readout = overlay["figures"], study["readout"]
            settings = study[readout]
            if readout == "unlearning":
                settings |= {"epochs": 2, "n_neutral": 2, "n_guardrail": 2, "max_new_tokens": 3}
                settings |= {"strengths": [settings["strength"]]}
            elif readout == "interruption":
                settings |= {"steps": ["scores"], "blocks": [2], "strengths": [1.0], "windows": [9], "limit": 100.0}
            else:
                for arm in settings["arms"].values():
                    if "strengths" in arm:
                        arm["strengths"] = arm["strengths"][:1]
                generated = {"n_generated": min(FEW["n_generated"], settings.get("n_generated", 12))}
                if "decay" in settings:
                    settings["decay"] |= {"n_prompts": 2, "max_new_tokens": 6, "bin": 3}
                settings |= FEW | generated | {"strengths": settings.get("strengths", [1.0])[:1]}
            found["studies"][name] = study
    found["models"] = {name: None for name in found["models"]} | {"text": {"checkpoint": "text", "dtype": "float32"}}
    return found


def text_and_streams(root, folder):
    """A model of few updates that knows the words of two streams, and random ones of texts."""
    pairs = read_pairs(root / "resources/studies/dialogues.csv", [INTERRUPTION])[INTERRUPTION]
    words = list(dict.fromkeys(word for pair in pairs for word in pair.positive.split()))
    tokens = families.tokenizer([])
    tokens.chat_template = families.TEXT_TEMPLATE
    tokens.add_tokens(duplex.stream_tokens(words))
    settings = {"n_layers": 4, "updates": 250, "batch": 16, "learning_rate": 0.006, "n_steps": 40}
    duplex.train(words, duplex.DuplexSettings.model_validate(settings), folder, tokens)


def test_shipped_studies_end_in_tables_and_figures_and_rerun_with_their_pairs(root, clean_copy):
    overlay = small_overlay(root)
    studies = [name for name, study in overlay["studies"].items() if study]
    assert {"preference", "values", "personality", "language", "truth", "sentiment", "unlearning"} <= set(studies)
    assert {"additivity", "breaking", "decay", "transfer"} <= set(studies)
    text_and_streams(root, clean_copy.folder / "text")
    planned = clean_copy.planned(overlay=overlay)
    assert planned["unlearn_facts"] == planned["interrupt_streams"] == planned["plot_decay"] == 1
    assert planned["steer_texts"] == planned["plot_effects"] - 2 == len(studies) - 2
    assert "extract_activations" not in planned
    output = clean_copy.run(overlay=overlay)
    assert "what steering does to answers, and what else it does" in output
    results = clean_copy.folder / "results"
    table = pd.read_csv(results / "tables/effects.csv", keep_default_na=False)
    shown = pd.read_csv(results / "tables/effects_overview.csv", keep_default_na=False)
    for study in studies:
        rows = shown[shown["study"] == study]
        assert (results / f"figures/effects/{study}/text.png").stat().st_size > 10_000
        if study == "unlearning":
            assert set(rows["arm"]) == {"unsteered", "original", "update", "from_scratch", "random"}
            assert set(rows["axis"]) == {FORGET, RETAIN, *REWORDED}
            continue
        if study == "interruption":
            by_arm = pd.to_numeric(rows.set_index("arm")["lag"], errors="coerce")
            assert list(by_arm.index) == ["unsteered", "uninterrupted", "scores", "random", "reversed"]
            assert by_arm["scores"] < by_arm["unsteered"] - 1
            assert by_arm["reversed"] > by_arm["unsteered"] + 1
            continue
        effects = overlay["studies"][study]["effects"]
        expected = {
            (axis, arm)
            for axis in effects["axes"]
            for arm, given in {"unsteered": {}, **effects["arms"]}.items()
            if axis in given.get("along", effects["axes"])
        }
        assert set(zip(rows["axis"], rows["arm"], strict=True)) == expected
        # Arms stand in the order of the configuration.
        for axis, of_axis in rows[rows["arm"] != "unsteered"].groupby("axis"):
            assert list(of_axis["arm"]) == [arm for arm in effects["arms"] if (axis, arm) in expected]
        measures = set(table[table["study"] == study]["measure"])
        assert {"margin", "divergence"} <= measures
        assert ("guardrail" in measures) == bool(effects.get("guardrail"))
        assert ("words" in measures) == (effects["n_generated"] > 0)
        assert ("option_margin" in measures) == effects.get("options", False)
        assert ("token_mass" in measures) == bool(effects.get("token_mass"))
    origins = pd.read_csv(results / "report/origins.csv")
    assert set(origins["file"]) == {f"results/effects/{study}/text.json" for study in studies}
    assert set(origins["rule"]) == {"steer_texts", "unlearn_facts", "interrupt_streams"}
    summed = pd.read_csv(results / "tables/additivity.csv")
    assert set(summed["study"]) == {"additivity"}
    assert set(summed["arm"]) == {"both", "with_random"}
    assert set(summed["measured"]) == {"joy", "plain"}
    broken = pd.read_csv(results / "tables/breaking.csv")
    assert set(zip(broken["study"], broken["arm"], strict=True)) == {("breaking", "mean"), ("breaking", "random")}
    lasting = pd.read_csv(results / "tables/decay.csv")
    assert set(lasting["study"]) == {"decay"}
    assert set(lasting["arm"]) == set(overlay["studies"]["decay"]["effects"]["arms"])
    assert (results / "figures/decay/decay/text.png").stat().st_size > 10_000
    carried = pd.read_csv(results / "tables/transfer.csv")
    here = carried[carried["study"] == "transfer"]
    assert set(zip(here["built"], here["measured"], strict=True)) == {("joy", "praise"), ("praise", "joy")}
    assert "effects_overview" in (results / "report/tables/effects_overview.csv.html").name
    assert clean_copy.planned(overlay=overlay) == {}
    # A pair that is worded otherwise repeats its study, and no other.
    pairs = clean_copy.folder / "resources/studies/values.csv"
    pairs.write_text(pairs.read_text().replace("?", " now?", 1))
    assert clean_copy.planned(overlay=overlay)["steer_texts"] == 1
    # One without an answer is named before anything runs.
    table = pd.read_csv(pairs)
    table.loc[0, "positive"] = " "
    table.to_csv(pairs, index=False)
    problem = clean_copy.run("--dry-run", overlay=overlay, fails=True)
    assert "studies.values: " in problem
    assert "row 2 has no positive; fill it in, or take the row out" in problem
