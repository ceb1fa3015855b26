"""Where clips are cut: where there is sound to be heard."""

import numpy as np
import pytest

from wheretolisten.clips.audibility import audible
from wheretolisten.clips.pcm import quantise
from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.errors import UserError
from wheretolisten.examples.composition import Composer, Event, Plan
from wheretolisten.examples.cutting import cut_where_heard

RATE = 16_000
SETTINGS = Composition(clip_seconds=(1.0, 1.5), gap_seconds=0.5)
NOISE = np.random.default_rng(0).uniform(-1, 1, 5 * RATE)
LABELS = ("cat", "cow", "dog", "hen")


def clip(*stretches: tuple[float, float], level: float = 0.3, faint: float = 0.0) -> np.ndarray:
    """Five seconds of noise at `level` within the stretches, in seconds, and at `faint` elsewhere."""
    envelope = np.full(5 * RATE, faint)
    for begin, end in stretches:
        envelope[round(begin * RATE) : round(end * RATE)] = level
    return quantise(envelope * NOISE)


def cuts(audio: np.ndarray, n_samples: int = 40, settings: Composition = SETTINGS) -> list[tuple[Event, Event, float]]:
    """Each event as planned and as cut, and the share of it that is audible, where all clips hold the same audio."""
    composer = Composer(settings, [Clip(label, label, "animals", label, "", len(audio), "") for label in LABELS])
    found = []
    for index in range(n_samples):
        plan = composer.plan(index)
        cut, shares = cut_where_heard(plan, [audio] * 3, settings)
        assert cut == cut_where_heard(plan, [audio] * 3, settings)[0]
        found += zip(plan.events, cut.events, shares, strict=True)
    return found


def test_what_is_audible():
    assert audible(clip((0, 5))).all()
    np.testing.assert_array_equal(np.flatnonzero(audible(clip((1, 1.4)))), np.arange(16_000, 22_400))
    # 40 dB below the loudest 20 ms, and 80 dB below full scale, nothing is heard; a constant and nothing are no sound.
    assert audible(clip((1, 1.4), faint=0.006)).all()
    assert np.count_nonzero(audible(clip((1, 1.4), faint=0.001))) == 0.4 * RATE
    assert not audible(clip((1, 1.4), level=1e-4)).any()
    assert not audible(np.full(RATE, 6_000, dtype=np.int16)).any()
    for n_frames in (0, 1, 319, 321, 639):
        assert audible(clip((0, 5))[:n_frames]).sum() == (n_frames if n_frames > 1 else 0)


@pytest.mark.parametrize("faint", [0.0, 0.001])
@pytest.mark.parametrize("begin", [0, 3.74, 4.6])
def test_a_brief_sound_is_in_every_event(begin, faint):
    # The recordings of many libraries are padded to one length, with zeros or with what a room sounds like.
    found = cuts(clip((begin, begin + 0.4), faint=faint))
    for _, event, share in found:
        assert 0 <= event.clip_start <= 5 * RATE - event.n_frames
        begin_heard = max(event.clip_start / RATE, begin)
        heard = min((event.clip_start + event.n_frames) / RATE, begin + 0.4) - begin_heard
        assert heard >= 0.2 - 1e-9
        assert share == pytest.approx(heard * RATE / event.n_frames, abs=1e-9)
    assert any(planned != event for planned, event, _ in found)
    # The choice among good places is as free as it can be, and everything else stays as it was.
    assert len({event.clip_start for _, event, _ in found}) > 20
    for planned, event, _ in found:
        assert (planned.clip, planned.n_frames, planned.onset) == (event.clip, event.n_frames, event.onset)


def test_a_good_cut_stays():
    assert all(planned == event and share == 1 for planned, event, share in cuts(clip((0, 5))))
    # A clip that is no longer than the event is heard as a whole.
    whole = cuts(clip((0, 1)), settings=Composition(clip_seconds=(5.0, 5.0)))
    assert all(planned == event and share == 0.2 for planned, event, share in whole)


def test_clips_without_a_sound_are_refused():
    silent = np.full(5 * RATE, 3_000, dtype=np.int16)
    plan = Plan(0, (Event(Clip("dog-1", "dog", "animals", "", "", len(silent), ""), 0, RATE, 0),))
    with pytest.raises(
        UserError, match=r"clip 'dog-1' \(dog\) is silent.*; take its file out of the library and prepare"
    ):
        cut_where_heard(plan, [silent], SETTINGS)
