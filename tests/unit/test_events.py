"""Any number of events, overlapping or not, from queries to tables and figures, beside a study of three."""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from plot_overlap import draw_overlap
from plot_specificity import draw_specificity
from plot_sweep import draw_sweep

from tests.unit.test_figures import check_nothing_is_clipped
from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.config.positions import is_position, order_positions
from wheretolisten.errors import UserError
from wheretolisten.examples.composition import Composer
from wheretolisten.localization.draws import draw_starts
from wheretolisten.localization.table import read_localization, write_localization
from wheretolisten.localization.windows import Window
from wheretolisten.report import layout, tables
from wheretolisten.statistics.scoring import score_answer, score_draws, score_window
from wheretolisten.statistics.specificity import NONE, summarize_specificity
from wheretolisten.statistics.summary import compare_methods, read_published, summarize_metrics, summarize_overlap
from wheretolisten.statistics.sweeps import summarize_sweep

PUBLISHED = read_published(Path(__file__).parents[2] / "resources" / "published_overlap.csv")
SIX = [f"event-{number}" for number in range(1, 7)]
COMPOSITIONS = {
    "main": Composition(clip_seconds=(1.0, 1.5)),
    "six": Composition(n_events=4, clip_seconds=(1.0, 1.5), gap_seconds=(0.3, 2.0), overlap={"n_events": 2}),
    "sixteen": Composition(n_events=8, clip_seconds=(1.0, 1.5), overlap={}),
}
RATE = 50.0


def events_of(settings: Composition, n_samples: int) -> list[dict]:
    clips = [
        Clip(f"{label}-{number}", f"sound {label:02d}", "all", f"{label}-{number}", "", 30_000, "")
        for label in range(16)
        for number in range(4)
    ]
    rows = []
    for plan in map(Composer(settings, clips).plan, range(n_samples)):
        heard = sorted(plan.events, key=lambda event: event.onset)
        for position, event in zip(settings.positions, heard, strict=True):
            times = {"onset": event.onset, "offset": event.offset, "duration": event.n_frames}
            rows.append(
                {"sample_id": plan.sample_id, "position": position, "label": event.clip.label, "domain": "all"}
                | {"source": event.clip.source, "sample_seconds": plan.n_frames / 16_000}
                | {name: frames / 16_000 for name, frames in times.items()}
            )
    return rows


@pytest.fixture(scope="module")
def localization(tmp_path_factory) -> pd.DataFrame:
    """Perfect windows, windows of the following event, answers of 0 s, and random draws, as read from files."""
    folder = tmp_path_factory.mktemp("localization")
    paths = []
    for name, settings in COMPOSITIONS.items():
        events = events_of(settings, 12)
        following = {(a["sample_id"], a["position"]): b for a, b in zip(events, events[1:] + events[:1], strict=True)}
        rows = []
        for event in events:
            for method, other in (("sample", event), ("label_mean", following[event["sample_id"], event["position"]])):
                width = round(event["duration"] * RATE)
                window = Window(width, RATE, tied_starts=np.array([round(other["onset"] * RATE)]))
                rows.append(score_window(event, window, f"steering_{method}", "tiny", name))
            rows.append(score_answer(event, "0.0", "tiny", name))
            key = (event["sample_id"], event["position"], event["sample_seconds"], event["duration"])
            rows.append(score_draws(event, draw_starts(0, *key, 400), "-", name))
        paths.append(folder / f"{name}.csv")
        write_localization(rows[::-1], paths[-1])
    return read_localization(paths)


def test_names_say_the_order():
    names = ["event-10", "middle", "event-2", "event-1", "end", "begin", "event-2"]
    assert order_positions(names) == ["begin", "middle", "end", "event-1", "event-2", "event-10"]
    for name in ("event-0", "event-01", "event-", "Begin", "overall", "event-1\n", ""):
        assert not is_position(name)
    with pytest.raises(UserError, match=r"'last' is no position: events are called begin, middle, end, or event-1, .*"):
        order_positions(["begin", "last"])


def test_rows_of_tables_follow_the_events_of_each_study(localization):
    six = localization[(localization["study"] == "six") & (localization["method"] == "steering_sample")]
    assert list(six["position"]) == SIX * 12
    assert six.groupby("sample_id")["onset"].is_monotonic_increasing.all()
    overlap = summarize_overlap(localization)
    metrics, comparisons = summarize_metrics(localization), compare_methods(localization)
    for name, settings in COMPOSITIONS.items():
        expected = [*settings.positions, "overall"]
        for table in (overlap, metrics[metrics["metric"] == "iou"], comparisons):
            keys = [key for key in ("model", "method", "other") if key in table]
            for _, rows in table[table["study"] == name].groupby(keys):
                assert list(rows["position"]) == expected
        by_label = summarize_overlap(localization[localization["study"] == name], by_label=True)
        assert set(by_label["position"]) == set(expected)
    found = overlap.set_index(["study", "method", "position"])
    # Windows lie on the grid of audio tokens.
    assert (found.xs("steering_sample", level="method")["overlap_pct"] > 97).all()
    assert (found.xs("steering_label_mean", level="method")["overlap_pct"] < 80).all()
    drawn = found.xs("random", level="method")
    assert drawn["lift"].abs().max() < 2.5  # draws agree with the closed form at every position
    assert (drawn["n_queries"] == [12, 12, 12, 36] + [12] * 6 + [72] + [12] * 16 + [192]).all()


def test_pages_name_the_events(localization):
    page = layout.as_markdown(tables.OVERLAP, layout.overlap_sections(summarize_overlap(localization), PUBLISHED))
    headings = [line for line in page.splitlines() if line.startswith("| Model")]
    assert [heading.split("|")[3].strip() for heading in headings] == ["Begin", "Event 1", "Event 1", "Begin"]
    assert [name.strip() for name in headings[1].split("|")[3:10]] == [*(f"Event {n}" for n in range(1, 7)), "Overall"]
    assert " % event-6, " in page


def test_specificity_has_the_events_of_each_study(localization):
    table = summarize_specificity(localization)
    assert set(table["study"]) == set(COMPOSITIONS)
    for name, rows in table.groupby("study"):
        positions = list(COMPOSITIONS[name].positions)
        assert list(dict.fromkeys(rows["landed_on"])) == [*positions, NONE]
        assert list(dict.fromkeys(rows["position"])) == positions
        own = rows[(rows["method"] == "steering_sample") & (rows["landed_on"] == rows["position"])]
        np.testing.assert_array_equal(own["share"], 1.0)
        sums = rows.groupby(["method", "position"])["share"].sum()
        np.testing.assert_allclose(sums, 1.0)


@pytest.mark.parametrize("study", ["six", "sixteen"])
def test_figures_have_room_for_all_events(localization, study):
    rows = localization[localization["study"] == study]
    overlap = summarize_overlap(rows)
    overlap = overlap[overlap["model"] != "-"]
    positions = COMPOSITIONS[study].positions
    names = [str(number) for number in range(1, len(positions) + 1)]
    figure = draw_overlap(pd.concat([overlap, overlap.assign(model="other")]))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == [*names, "Overall"]
    check_apart(figure, figure.axes[0].get_xticklabels())
    check_nothing_is_clipped(figure)
    figure = draw_specificity(summarize_specificity(rows), "A title")
    panel = next(axis for axis in figure.axes if axis.images)
    assert [label.get_text() for label in panel.get_yticklabels()] == names
    check_apart(figure, panel.get_xticklabels())
    check_nothing_is_clipped(figure)

    queries = rows[rows["method"] == "steering_sample"].assign(sweep="strength", value="0.1")
    queries = pd.concat([queries, queries.assign(value="1", overlap=queries["chance"])])
    for swept in (queries, queries.assign(value=queries["value"].replace("1", "all"))):
        table = summarize_sweep(swept)
        assert list(table["position"]) == [*positions, "overall"] * 2
        figure = draw_sweep(table, "steering.scale", "0.1")
        colours = {line.get_color() for line in figure.legends[0].get_lines()[: len(positions) + 1]}
        assert len(colours) == len(positions) + 1
        check_nothing_is_clipped(figure)


def check_apart(figure: plt.Figure, labels: list[plt.Text]) -> None:
    """Neighbouring labels do not touch."""
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in labels]
    for one, other in pairwise(boxes):
        assert not one.overlaps(other)
