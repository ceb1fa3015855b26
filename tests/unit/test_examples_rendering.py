"""From plans to sound: untouched clips, energy-matched gaps, no clipping, the same bytes everywhere."""

import numpy as np
import pytest

from wheretolisten.clips.pcm import digest_of
from wheretolisten.clips.randomness import generator
from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.examples.composition import Event, Plan
from wheretolisten.examples.rendering import noise, render

RATE = 16_000
GOLDEN = {
    "white": "8cb7bf2d319afb071629e672109a4a79bfa6b80ee06c5f48b33eb01cbf43da62",
    "pink": "a6cd7099c9a30c2189b9fa6edefda27dd229fbc8af087cd0d2134b8908d4b2d4",
    "silence": "99b9bbde15e753fbec335a17db32255d73dda9ae5f178ed98f9ecbe52b967caf",
}


def clip(level: float, n_frames: int, key: int = 0) -> np.ndarray:
    """Noise whose root mean square is about `level`, from whole numbers only."""
    values = generator("clip", key).integers(-1_000, 1_001, n_frames)
    return np.rint(values * (level * 32_768 / 577.6)).astype(np.int16)


def plan(*n_frames: int, gap: int = RATE, starts=(0, 0, 0)) -> Plan:
    events, onset = [], 0
    for length, start in zip(n_frames, starts, strict=True):
        record = Clip("id", "label", "domain", "source", "path", length, "")
        events.append(Event(record, start, length, onset))
        onset += length + gap
    return Plan(7, tuple(events))


def level(pcm: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(pcm / 32_768))))


CLIPS = [clip(0.02, 9_000, 1), clip(0.1, 10_000, 2), clip(0.06, 11_000, 3)]
PLAN = plan(9_000, 10_000, 11_000)


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_gaps_are_as_loud_as_their_neighbours_on_average(kind):
    sample = render(PLAN, CLIPS, Composition(gap_noise=kind))
    for number in range(2):
        gap = sample[PLAN.events[number].offset : PLAN.events[number + 1].onset]
        assert len(gap) == RATE
        expected = (level(CLIPS[number]) + level(CLIPS[number + 1])) / 2
        assert level(gap) == pytest.approx(expected, rel=1e-3)


def test_noise_lies_all_through_the_recording_at_the_stated_ratio_and_changes_nothing_else():
    quiet = render(PLAN, CLIPS, Composition(gap_noise="silence"))
    noisy = render(PLAN, CLIPS, Composition(gap_noise="silence", snr_db=-3.0))
    added = noisy.astype(float) - quiet
    events = np.concatenate([quiet[event.onset : event.offset] for event in PLAN.events])
    assert 20 * np.log10(level(events) / level(added)) == pytest.approx(-3, abs=0.01)
    for part in np.array_split(added, 5):
        assert level(part) == pytest.approx(level(added), rel=0.05)
    with pytest.raises(ValueError, match="heard: silence leaves nothing that it could disturb"):
        Composition(heard="silence", snr_db=0.0)


def test_silent_gaps_are_silent():
    sample = render(PLAN, CLIPS, Composition(gap_noise="silence"))
    assert not sample[PLAN.events[0].offset : PLAN.events[1].onset].any()


def test_without_clips_there_is_no_sound_to_be_found():
    heard = render(PLAN, CLIPS, Composition())
    noisy = render(PLAN, CLIPS, Composition(heard="noise"))
    for number, event in enumerate(PLAN.events):
        here = slice(event.onset, event.offset)
        assert level(noisy[here]) == pytest.approx(level(heard[here]), rel=1e-3)
        correlation = np.corrcoef(noisy[here], heard[here])[0, 1]
        assert abs(correlation) < 0.05, number
    gap = slice(PLAN.events[0].offset, PLAN.events[1].onset)
    np.testing.assert_array_equal(noisy[gap], heard[gap])
    silent = render(PLAN, CLIPS, Composition(heard="silence"))
    assert silent.shape == heard.shape
    assert not silent.any()


def test_untouched_clips_are_untouched():
    whole = [clip(0.05, 20_000, key) for key in range(3)]
    trimmed = plan(9_000, 10_000, 20_000, starts=(0, 500, 0))
    sample = render(trimmed, whole, Composition())
    for event, audio in zip(trimmed.events, whole, strict=True):
        cut = audio[event.clip_start : event.clip_start + event.n_frames]
        np.testing.assert_array_equal(sample[event.onset : event.offset], cut)


def test_clips_at_one_level():
    sample = render(PLAN, CLIPS, Composition(loudness="rms", rms_level=0.05))
    for event in PLAN.events:
        assert level(sample[event.onset : event.offset]) == pytest.approx(0.05, rel=1e-3)
    assert level(sample[PLAN.events[0].offset : PLAN.events[1].onset]) == pytest.approx(0.05, rel=1e-3)


def test_a_sample_beyond_full_scale_is_made_quieter_as_a_whole():
    sample = render(PLAN, CLIPS, Composition(loudness="rms", rms_level=0.9))
    assert np.abs(sample.astype(int)).max() == 32_767
    levels = [level(sample[event.onset : event.offset]) for event in PLAN.events]
    assert levels == pytest.approx([levels[0]] * 3, rel=1e-3)


def test_no_gap_at_all():
    sample = render(plan(9_000, 10_000, 11_000, gap=0), CLIPS, Composition(gap_seconds=0))
    np.testing.assert_array_equal(sample, np.concatenate(CLIPS))


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_sample_is_the_same_everywhere(kind):
    settings = Composition(gap_noise=kind)
    assert digest_of(render(PLAN, CLIPS, settings)) == digest_of(render(PLAN, CLIPS, settings)) == GOLDEN[kind]


def test_gaps_differ_between_and_within_samples():
    sample = render(PLAN, CLIPS, Composition())
    first, second = (sample[event.offset :][:RATE].astype(float) for event in PLAN.events[:2])
    other = render(Plan(8, PLAN.events), CLIPS, Composition())[PLAN.events[0].offset :][:RATE].astype(float)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def test_the_colours_of_noise():
    slopes = {}
    for kind in ("white", "pink"):
        power = np.abs(np.fft.rfft(noise(kind, 1 << 16, generator("colour"))))[1:] ** 2
        octaves = [power[1 << n : 2 << n].mean() for n in range(6, 14)]
        slopes[kind] = np.polyfit(np.arange(8), np.log2(octaves), 1)[0]
    assert slopes["white"] == pytest.approx(0, abs=0.1)
    assert slopes["pink"] == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("loudness", ["untouched", "rms"])
@pytest.mark.parametrize("level_db", [-20.0, -3.5, 0.0, 6.0])
def test_a_second_sound_has_its_level_relative_to_its_event(level_db, loudness):
    record = Clip("id", "label", "domain", "source", "path", 4_000, "")
    seconds = [Event(record, 100, 4_000, onset, mixed_into=host) for host, onset in ((0, 5_000), (2, 52_000))]
    mixed = Plan(7, (*PLAN.events, *seconds))
    clips = [*CLIPS, clip(0.3, 4_100, 4), clip(0.001, 4_100, 5)]
    settings = Composition(loudness=loudness, overlap={"level_db": level_db, "n_events": 2})
    alone, sample = render(PLAN, CLIPS, settings).astype(int), render(mixed, clips, settings).astype(int)
    assert np.abs(sample).max() < 32_767
    added = sample - alone
    for event in seconds:
        host = PLAN.events[event.mixed_into]
        ratio = level(added[event.onset : event.offset]) / level(alone[host.onset : host.offset])
        assert 20 * np.log10(ratio) == pytest.approx(level_db, abs=0.05)
        added[event.onset : event.offset] = 0
    assert not added.any()  # gaps and the other events are as they were


@pytest.mark.parametrize("n_events", [2, 5, 8])
def test_any_number_of_events_is_rendered(n_events):
    clips = [clip(0.01 * (number + 1), 2_000, number) for number in range(n_events)]
    onsets = [number * 3_000 + number**2 * 10 for number in range(n_events)]
    record = Clip("id", "label", "domain", "source", "path", 2_000, "")
    several = Plan(7, tuple(Event(record, 0, 2_000, onset) for onset in onsets))
    sample = render(several, clips, Composition(n_events=n_events))
    assert len(sample) == onsets[-1] + 2_000
    for number, (onset, audio) in enumerate(zip(onsets, clips, strict=True)):
        np.testing.assert_array_equal(sample[onset : onset + 2_000], audio)
        if number:
            gap = sample[onsets[number - 1] + 2_000 : onset]
            assert level(gap) == pytest.approx((level(clips[number - 1]) + level(audio)) / 2, rel=2e-3)
