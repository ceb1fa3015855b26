"""The linear probe on frames of audio tokens."""

import numpy as np
import pandas as pd
import pytest

from wheretolisten.config.probe import Localization
from wheretolisten.localization.frames import RIDGE, FrameProbe, frames_of, tokens_per_frame

LABELS = ("dog", "cat", "cow", "hen")
RATE, HIDDEN = 5.0, 12


def samples(n: int, rng: np.random.Generator, loudness: float = 2.0) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Recordings of three sounds of 4 s with gaps of 1 s, whose frames are noise around a direction of the label."""
    directions = np.linalg.qr(rng.standard_normal((HIDDEN, HIDDEN)))[0][: len(LABELS)]
    frames, events = [], []
    for sample in range(n):
        here = rng.standard_normal((70, HIDDEN))
        for place, label in enumerate(rng.permutation(len(LABELS))[:3]):
            onset, source = 5.0 * place, f"{LABELS[label]} {rng.integers(6)}"
            here[round(onset * RATE) : round((onset + 4) * RATE)] += loudness * directions[label]
            events.append(
                {
                    "sample_id": str(sample),
                    "label": LABELS[label],
                    "source": source,
                    "onset": onset,
                    "offset": onset + 4,
                }
            )
        frames.append(here.astype(np.float32))
    return frames, pd.DataFrame(events).assign(duration=4.0)


def test_frames_are_averages_of_tokens_and_the_last_one_of_what_is_left():
    assert [tokens_per_frame(rate) for rate in (25.0, 12.5, 6.25, 1.0, 50.0)] == [4, 2, 1, 1, 8]
    tokens = np.arange(10.0)[:, None]
    np.testing.assert_array_equal(frames_of(tokens, 4)[:, 0], [1.5, 5.5, 8.5])
    np.testing.assert_array_equal(frames_of(tokens, 1), tokens)


def test_it_finds_planted_sounds_and_nothing_where_frames_are_noise():
    def found(loudness: float) -> float:
        frames, events = samples(60, np.random.default_rng(1), loudness)
        probe = FrameProbe(frames, events, RATE)
        overlaps = []
        for event in events.to_dict("records"):
            window, of_any_width = probe.windows(event, Localization(layers=[3]))
            start = window.start_seconds
            overlaps.append(max(0, 4 - abs(start - event["onset"])) / 4)
            assert of_any_width.tied_starts.size >= 1
        return float(np.mean(overlaps))

    assert found(2.0) > 0.95
    # A window of 4 s in 14 s, or what noise makes of it.
    assert found(0.0) < 0.4


def test_a_sample_is_scored_by_a_regression_without_what_shares_a_source_with_it():
    frames, events = samples(40, np.random.default_rng(2))
    probe = FrameProbe(frames, events, RATE)
    own = set(events.loc[events["sample_id"] == "0", "source"])
    related = set(events.loc[events["source"].isin(own), "sample_id"])
    assert 1 < len(related) < 40
    # The same from nothing but the others.
    together = np.concatenate(frames).astype(np.float64)
    mean, deviation = together.mean(axis=0), together.std(axis=0)
    x, y = [], []
    for sample, values in enumerate(frames):
        if str(sample) in related:
            continue
        times = (np.arange(len(values)) + 0.5) / RATE
        x.append((values - mean) / deviation)
        y.append(np.zeros(len(values)))
        for event in events[(events["sample_id"] == str(sample)) & (events["label"] == "dog")].itertuples():
            y[-1][(times >= event.onset) & (times < event.offset)] = 1
    x, y = np.concatenate(x), np.concatenate(y)
    centred = x - x.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + RIDGE * len(x) * np.eye(HIDDEN), centred.T @ (y - y.mean()))
    expected = y.mean() + ((frames[0] - mean) / deviation - x.mean(axis=0)) @ weights
    np.testing.assert_allclose(probe.scores("0")["dog"], expected, atol=1e-6)


def test_a_label_that_no_other_recording_has_is_not_scored():
    frames, events = samples(8, np.random.default_rng(3))
    events.loc[0, ["label", "source"]] = ["whale", "whale 0"]
    window, of_any_width = FrameProbe(frames, events, RATE).windows(events.iloc[0].to_dict(), Localization())
    assert not window.steered
    assert window.failure == of_any_width.failure == "no vector: no other recording has the label"
    with pytest.raises(ValueError, match="frames of 7 samples, but events of 8"):
        FrameProbe(frames[1:], events, RATE)
