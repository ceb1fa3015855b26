"""Overlap with a true event, and what chance gives."""

import numpy as np
import pytest

from wheretolisten.config.probe import Localization
from wheretolisten.localization.draws import draw_starts
from wheretolisten.localization.windows import Window, find_window
from wheretolisten.statistics.overlap import chance_overlap, overlap_fraction, window_overlap
from wheretolisten.statistics.scoring import score_answer, score_draws, score_window

POSITIONS = ("begin", "middle", "end")


def events_of(gap: float, durations=(5.0, 5.0, 5.0)) -> list[dict]:
    total = sum(durations) + 2 * gap
    onset, events = 0.0, []
    for position, duration in zip(POSITIONS, durations, strict=True):
        events.append(
            {
                "sample_id": "00000",
                "position": position,
                "label": "cat",
                "domain": "animals",
                "source": "s",
                "onset": onset,
                "offset": onset + duration,
                "duration": duration,
                "sample_seconds": total,
            }
        )
        onset += duration + gap
    return events


def chances(events) -> list[float]:
    return [100 * chance_overlap(event["onset"], event["duration"], event["sample_seconds"]) for event in events]


@pytest.mark.parametrize(
    ("window", "fraction"),
    [((0, 5), 1.0), ((2.5, 7.5), 0.5), ((5, 10), 0.0), ((-5, 0), 0.0), ((1, 2), 0.2), ((-9, 9), 1.0), ((99, 104), 0)],
)
def test_overlap_is_a_share_of_the_true_event(window, fraction):
    assert overlap_fraction(*window, 0.0, 5.0) == pytest.approx(fraction)


def test_overlap_of_many_windows_at_once():
    starts = np.array([0.0, 2.5, 6.0])
    np.testing.assert_allclose(overlap_fraction(starts, starts + 5, 0.0, 5.0), [1, 0.5, 0])


def test_chance_with_gaps_of_one_second():
    values = chances(events_of(1.0))
    np.testing.assert_allclose(values, [20.83, 41.67, 20.83], atol=0.01)
    assert np.mean(values) == pytest.approx(27.8, abs=0.05)


@pytest.mark.parametrize(("gap", "overall"), [(0.0, 33.3), (0.5, 30.3)])
def test_chance_with_other_gaps(gap, overall):
    assert np.mean(chances(events_of(gap))) == pytest.approx(overall, abs=0.05)


def test_chance_over_the_benchmarks_durations_matches_the_published_random_row():
    rng = np.random.default_rng(0)
    values = np.mean([chances(events_of(1.0, rng.uniform(4.5, 5.5, 3))) for _ in range(2000)], axis=0)
    np.testing.assert_allclose([*values, values.mean()], [20.81, 41.61, 20.81, 27.74], atol=0.3)


@pytest.mark.parametrize("durations", [(5.0, 5.0, 5.0), (4.5, 5.5, 5.1), (1.0, 9.0, 3.0), (9.0, 1.0, 1.0)])
@pytest.mark.parametrize("gap", [0.0, 1.0, 4.0])
def test_closed_form_agrees_with_monte_carlo(durations, gap):
    for event in events_of(gap, durations):
        starts = draw_starts(1, "00000", event["position"], event["sample_seconds"], event["duration"], 40_000)
        drawn = overlap_fraction(starts, starts + event["duration"], event["onset"], event["offset"]).mean()
        expected = chance_overlap(event["onset"], event["duration"], event["sample_seconds"])
        assert drawn == pytest.approx(expected, abs=0.012)


def test_chance_is_certain_where_only_one_window_fits():
    assert chance_overlap(0.0, 5.0, 5.0) == 1.0


def test_always_zero_answer_scores_at_begin_only():
    rows = [score_answer(event, "0.00 seconds", "tiny", "main") for event in events_of(1.0)]
    assert [row["overlap"] for row in rows] == [1.0, 0.0, 0.0]
    assert all(row["parsed"] for row in rows)


def test_unparsable_answer_scores_zero_and_is_marked():
    row = score_answer(events_of(1.0)[0], "no idea", "tiny", "main")
    assert row["overlap"] == 0.0
    assert row["parsed"] is False
    assert row["failure"]
    assert np.isnan(row["predicted_start"])


def test_tie_scores_the_mean_over_the_tied_windows():
    window = Window(width=125, tokens_per_second=25.0, tied_starts=np.array([0, 300]))
    assert window_overlap(window, 0.0, 5.0) == pytest.approx(0.5)


def test_tie_of_all_windows_scores_about_chance_at_every_position():
    constant = np.ones((4, 425))
    for event in events_of(1.0):
        row = score_window(
            event, find_window(constant, constant, 5.0, 25.0, 425, Localization()), "prompt_only", "m", "b"
        )
        assert row["tied"]
        assert np.isnan(row["predicted_start"])
        assert row["overlap"] == pytest.approx(row["chance"], abs=0.01)


def test_failure_scores_zero_with_its_reason():
    row = score_window(events_of(1.0)[0], Window(0, 25.0, failure="because"), "steering_sample", "m", "b")
    assert (row["overlap"], row["failure"], row["tied"]) == (0.0, "because", False)


def test_random_row_is_the_mean_over_draws():
    row = score_draws(events_of(1.0)[0], np.array([0.0, 2.5, 12.0]), "-", "b")
    assert row["overlap"] == pytest.approx(0.5)
    assert np.isnan(row["predicted_start"])
