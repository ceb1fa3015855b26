"""Which event windows land on: weights, table, script and figure."""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plot_specificity
import pytest
from plot_specificity import draw_specificity

from tests.unit.test_figures import check_files, check_nothing_is_clipped
from tests.unit.test_localization_table import row
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.positions import name_positions
from wheretolisten.directions.sources import other_positions
from wheretolisten.errors import UserError
from wheretolisten.statistics.specificity import NONE, landings, summarize_specificity
from wheretolisten.statistics.tables import write_table

ONSETS = dict(zip(POSITIONS, (0.0, 6.0, 12.0), strict=True))
EVENTS = pd.DataFrame(
    [
        {"study": "main", "sample_id": "00000", "position": position, "onset": onset, "offset": onset + 5}
        for position, onset in ONSETS.items()
    ]
)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0.0, [1, 0, 0, 0]),
        (4.0, [0, 1, 0, 0]),
        (3.0, [0.5, 0.5, 0, 0]),  # two seconds of begin, two of middle
        (2.9, [1, 0, 0, 0]),
        (16.9, [0, 0, 1, 0]),
        (17.0, [0, 0, 0, 1]),
        (-9.0, [0, 0, 0, 1]),
        (np.nan, [0, 0, 0, 1]),
    ],
)
def test_a_window_lands_on_the_event_of_which_it_covers_most(start, expected):
    window = {"study": "main", "sample_id": "00000", "predicted_start": start, "predicted_end": start + 5}
    np.testing.assert_allclose(landings(pd.DataFrame([window]), EVENTS), [expected])


@pytest.mark.parametrize("overlapping", [True, False])
def test_windows_land_where_an_enumeration_says(overlapping):
    # Five sounds with unequal gaps and perhaps one within each, on a grid of 0.1 s; all windows of ten durations.
    rng = np.random.default_rng(8)
    events, onset = [], 0
    for _ in range(5):
        duration = int(rng.integers(8, 20))
        events.append((onset, onset + duration))
        if overlapping:
            start = onset + int(rng.integers(duration - 5))
            events.append((start, start + 5))
        onset += duration + int(rng.integers(0, 8))
    grid = np.arange(events[-2 if overlapping else -1][1] + 30)
    windows = np.array([(start, start + width) for width in range(2, 22, 2) for start in range(len(grid) - width)])
    heard, covered = ((grid >= times[:, :1]) & (grid < times[:, 1:]) for times in (np.array(events), windows))
    shared = (covered[:, None] & heard).sum(axis=2)
    # Fractions compare exactly; by seconds where events take turns, by intersection over union where they overlap.
    union = (covered[:, None] | heard).sum(axis=2) if overlapping else np.ones_like(shared)
    amounts = np.vectorize(Fraction)(shared, union)
    best = (amounts == amounts.max(axis=1, keepdims=True)) & (shared.max(axis=1, keepdims=True) > 0)
    expected = np.hstack([best, ~best.any(axis=1, keepdims=True)])

    key = {"study": "main", "sample_id": "00000"}
    times = pd.DataFrame(np.array(events) / 10, columns=["onset", "offset"])
    queries = pd.DataFrame(windows / 10, columns=["predicted_start", "predicted_end"]).assign(**key)
    found = landings(queries, times.assign(position=name_positions(len(events)), **key))
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True))
    assert (expected.sum(axis=1) > 1).any()
    if overlapping:  # a window that is an event lands on it, and on none around it
        exact = landings(
            times.set_axis(["predicted_start", "predicted_end"], axis=1).assign(**key),
            times.assign(position=name_positions(len(events)), **key),
        )
        np.testing.assert_array_equal(exact, np.eye(10, 11))


def localization(n_samples=4):
    """Windows at the queried event, at the event whose vector steers, at the begin, and ties, by method."""
    rows = []
    for sample in range(n_samples):
        sample_id = f"{sample:05d}"
        for position, onset in ONSETS.items():
            starts = {
                "direct_prompt": 0.0,
                "steering_sample": onset,
                "steering_mine": ONSETS[other_positions(sample_id, POSITIONS)[POSITIONS.index(position)]],
                "steering_random_direction": np.nan,
                "random": np.nan,
            }
            for method, start in starts.items():
                rows.append(
                    row(
                        method=method,
                        sample_id=sample_id,
                        position=position,
                        onset=onset,
                        offset=onset + 5,
                        predicted_start=start,
                        predicted_end=start + 5,
                        tied=bool(np.isnan(start)),
                    )
                )
    return pd.DataFrame(rows)


OTHER_EVENT = ["mine", "unused"]


def test_other_labels_vector_is_judged_by_the_event_that_it_is_of_as_well():
    table = summarize_specificity(localization(), OTHER_EVENT)
    assert "random" not in set(table["method"])
    assert (table["n"] == 4).all()

    def matrix(method, reference="queried"):
        rows = table[(table["method"] == method) & (table["reference"] == reference)]
        return rows.pivot(index="position", columns="landed_on", values="share").loc[
            list(POSITIONS), [*POSITIONS, NONE]
        ]

    np.testing.assert_array_equal(matrix("steering_sample"), np.eye(3, 4))
    np.testing.assert_array_equal(matrix("steering_mine", "steered"), np.eye(3, 4))
    # Four samples steer twice with the next event's vector and twice with that of the one before.
    np.testing.assert_array_equal(matrix("steering_mine"), np.hstack([(1 - np.eye(3)) / 2, np.zeros((3, 1))]))
    np.testing.assert_array_equal(matrix("direct_prompt"), [[1, 0, 0, 0]] * 3)
    np.testing.assert_array_equal(matrix("steering_random_direction"), [[0, 0, 0, 1]] * 3)
    assert set(table.loc[table["reference"] == "steered", "method"]) == {"steering_mine"}


def test_script_writes_equal_files_twice(tmp_path):
    for name in ("a", "b"):
        write_table(summarize_specificity(localization(), OTHER_EVENT), tmp_path / f"{name}.csv", decimals=6)
        files = ["--pdf", str(tmp_path / f"{name}.pdf"), "--png", str(tmp_path / f"{name}.png")]
        arguments = ["--table", str(tmp_path / f"{name}.csv"), *files, "--study", "main"]
        plot_specificity.main([*arguments, "--models", "tiny"])
        check_files(tmp_path / name)
    for suffix in (".csv", ".pdf", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    with pytest.raises(UserError, match=r"b\.csv: model 'large' does not answer study 'main'; name one"):
        plot_specificity.main([*arguments, "--models", "large"])


def test_figure_has_a_panel_per_method_its_shares_and_nothing_clipped():
    table = summarize_specificity(localization(), OTHER_EVENT)
    figure = draw_specificity(table, "Tiny Qwen2-Audio: a title that is long enough")
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in panels] == ["Own vector", "Random direction"]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), 100 * np.eye(3))
    check_nothing_is_clipped(figure)

    renamed = summarize_specificity(localization().replace("steering_mine", "steering_other_label"), ["other_label"])
    figure = draw_specificity(renamed, "A title")
    panel = figure.axes[1]
    assert panel.get_ylabel() == "Event whose\nvector was added"
    np.testing.assert_array_equal(panel.images[0].get_array(), 100 * np.eye(3))
    plt.close(figure)

    only = table[table["method"] == "steering_mine"]
    figure = draw_specificity(only, "A title")
    assert [axis.get_title() for axis in figure.axes if axis.images] == ["Mine"]
    check_nothing_is_clipped(figure)
