"""Overlap with a true event, and what chance gives."""

import numpy as np
import pytest

from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.config.probe import Localization
from wheretolisten.examples.composition import Composer
from wheretolisten.localization.draws import draw_starts
from wheretolisten.localization.windows import Window, find_window, find_window_of_any_width
from wheretolisten.statistics.measures import measure
from wheretolisten.statistics.overlap import chance_overlap, overlap_fraction, window_overlap
from wheretolisten.statistics.scoring import score_answer, score_draws, score_unknown_duration, score_window

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


def test_chance_over_the_examples_durations_matches_the_published_random_row():
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


COMPOSITIONS = {
    "two events": {"n_events": 2},
    "three events of one duration": {"clip_seconds": (1.0, 1.0)},
    "five events and unequal gaps": {"n_events": 5, "gap_seconds": (0.0, 4.0)},
    "eight events without gaps": {"n_events": 8, "gap_seconds": 0},
    "four events, three with a second sound": {"n_events": 4, "overlap": {"n_events": 3, "fraction": 0.3}},
    "eight events, all with a long second sound": {"n_events": 8, "overlap": {"fraction": 0.9}},
}


@pytest.mark.parametrize("changes", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_chance_is_that_of_all_windows_enumerated(changes):
    rate = 16_000
    settings = Composition(**{"clip_seconds": (0.8, 1.6)} | changes)
    labels = [f"sound {number:02d}" for number in range(16)]
    clips = [Clip(label, label, "all", label, "", round(rate * (1.6 + n / 40)), "") for n, label in enumerate(labels)]
    composer = Composer(settings, clips)
    for index in range(3):
        plan = composer.plan(index)
        assert len(plan.events) == len(settings.positions)
        for event in plan.events:
            # Overlap is linear in the start between frames, so the trapezoidal rule over all frames is the integral.
            starts = np.arange(plan.n_frames - event.n_frames + 1)
            shared = np.minimum(starts + event.n_frames, event.offset) - np.maximum(starts, event.onset)
            covered = np.clip(shared, 0, None) / event.n_frames
            times = np.array([event.onset, event.n_frames, plan.n_frames]) / rate
            assert chance_overlap(*times) == pytest.approx(np.trapezoid(covered) / (len(starts) - 1), abs=1e-10)
            assert 0 < chance_overlap(*times) < 1


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


@pytest.mark.parametrize(
    ("window", "iou", "hit", "pointing", "error"),
    [
        ((6.0, 11.0), 1, 1, 1, 0.0),
        ((7.0, 12.0), 4 / 6, 1, 1, 1.0),
        ((4.0, 9.0), 3 / 7, 0, 1, -2.0),  # the centre lies 0.5 s behind the onset
        ((2.0, 7.0), 1 / 9, 0, 0, -4.0),
        ((6.0, 8.5), 0.5, 1, 1, 0.0),
        ((0.0, 17.0), 5 / 17, 0, 1, -6.0),
        ((12.0, 17.0), 0, 0, 0, 6.0),
    ],
)
def test_measures_of_one_window(window, iou, hit, pointing, error):
    values = measure(np.array([window[0]]), np.array([window[1]]), 6.0, 11.0)
    assert values == pytest.approx(
        {"iou": iou, "hit": hit, "pointing": pointing, "onset_error": error, "absolute_onset_error": abs(error)}
    )


def test_measures_of_several_windows_are_means_and_of_none_are_failures():
    starts = np.array([0.0, 6.0, 12.0])
    values = measure(starts, starts + 5, 6.0, 11.0)
    assert values == pytest.approx(
        {"iou": 1 / 3, "hit": 1 / 3, "pointing": 1 / 3, "onset_error": 0.0, "absolute_onset_error": 4.0}
    )
    nothing = measure(np.empty(0), np.empty(0), 6.0, 11.0)
    assert [nothing[name] for name in ("iou", "hit", "pointing")] == [0, 0, 0]
    assert np.isnan([nothing["onset_error"], nothing["absolute_onset_error"]]).all()


def test_every_kind_of_row_is_measured_the_same_way():
    event = events_of(1.0)[1]
    answered = score_answer(event, "7.0", "m", "b")
    found = score_window(event, Window(125, 25.0, tied_starts=np.array([175])), "prompt_only", "m", "b")
    drawn = score_draws(event, np.array([7.0]), "-", "b")
    for row in (answered, found, drawn):
        assert (row["iou"], row["hit"], row["pointing"]) == pytest.approx((4 / 6, 1, 1))
        assert (row["onset_error"], row["absolute_onset_error"]) == pytest.approx((1, 1))
    unparsed = score_answer(event, "no idea", "m", "b")
    assert (unparsed["iou"], unparsed["hit"], unparsed["pointing"]) == (0, 0, 0)
    assert np.isnan(unparsed["onset_error"])


def test_unknown_duration_has_the_chance_of_its_candidates():
    event = events_of(1.0)[0]
    constant = np.ones((4, 425))
    settings = Localization(unknown_durations=[5.0, 10.0])
    candidates = find_window_of_any_width(constant, constant, 25.0, 425, settings)
    window = Window(np.array([250]), 25.0, tied_starts=np.array([0]))
    row = score_unknown_duration(event, window, candidates, "steering_sample", "m", "b")
    assert (row["predicted_start"], row["predicted_end"]) == (0, 10)
    assert (row["iou"], row["overlap"]) == (0.5, 1)
    starts, ends = candidates.tied_seconds
    assert row["chance"] == pytest.approx(overlap_fraction(starts, ends, 0.0, 5.0).mean())
    assert np.unique((ends - starts).round(6)).tolist() == [5, 10]
