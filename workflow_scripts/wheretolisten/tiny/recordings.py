"""Recordings for training the tiny LALMs: sequences of events, written or as sound."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from wheretolisten.clips.decode import BadFileError, decode
from wheretolisten.clips.listing import list_entries
from wheretolisten.clips.procedural import synthesize
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.sounds import Esc50Library
from wheretolisten.errors import UserError
from wheretolisten.tiny.architecture import MAX_SECONDS, TOKENS_PER_SECOND
from wheretolisten.tiny.language import Event

# Entropy of the seed sequences: one number per purpose, so that no clip of one purpose occurs in another.
TRAINING_CLIPS, EVALUATION_CLIPS, TUNING_CLIPS = 0x7A11, 0x7E57, 0x70E5
_LONGEST_RECORDING = 18.5
_CLIP_SECONDS = 5.5
# Share of events that are two takes of a label at once, where clips are few.
_SHARE_OF_MIXED = 0.5
# Share of events of which all but a stretch falls silent, where clips are few, and the energy that has to be left.
_SHARE_OF_BRIEF, _BRIEF_ENERGY = 0.4, 0.4
# Blends are varied more than takes, since no label has to stay true: widest factor of speed, largest standard deviation
# of the frequency response in dB, share with a second clip, its level, the level of the whole (powers of ten).
_BLEND_SPEED, _BLEND_DECIBELS, _SHARE_OF_TWO = 1.4, 10.0, 0.7
_SECOND_LEVEL, _BLEND_LEVEL = (-1.0, 0.3), (-0.5, 0.3)
# Mean length of a stretch that is misheard.
_STRETCH_TOKENS = 4
# Range of the factor on an event's amplitude, as powers of ten.
_ANY_LEVEL, _OWN_LEVEL = (-0.4, 0.1), (-0.1, 0.1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """Events in order and the recording's length in seconds."""

    events: tuple[Event, ...]
    seconds: float

    def token_labels(self, n_tokens: int) -> list[str | None]:
        """Label at the centre of each audio token, None in gaps: [audio_token]."""
        centres = (np.arange(n_tokens) + 0.5) / TOKENS_PER_SECOND
        labels: list[str | None] = [None] * n_tokens
        for event in self.events:
            for index in np.flatnonzero((centres >= event.onset) & (centres < event.offset)):
                labels[index] = event.label
        return labels


def mishear(
    token_labels: Sequence[str | None], labels: Sequence[str], share: float, rng: np.random.Generator
) -> list[str | None]:
    """Labels of audio tokens [audio_token], of which a part says another label, less than half of each event.

    An encoder that hears a new recording is not sure of it: stretches of an event sound like something else. A share
    of the events is chosen to get one of `labels` in some stretches; those for which half or more would be drawn, or
    nothing, stay as they are.
    """
    misheard: list[str | None] = []
    for label, run in groupby(token_labels):
        event = np.array(list(run), dtype=object)
        if label is not None and rng.random() < share:
            stretches = np.cumsum(rng.random(len(event)) < 1 / _STRETCH_TOKENS)
            wrong = (rng.random(stretches[-1] + 1) < rng.uniform(0, 0.5))[stretches]
            other = labels[int(rng.integers(len(labels)))]
            if wrong.mean() < 0.5:
                event[wrong] = other
        misheard.extend(event)
    return misheard


def draw_labels(labels: Sequence[str], rng: np.random.Generator) -> list[str]:
    """One to four different labels, mostly three."""
    count = int(rng.choice(4, p=[0.08, 0.22, 0.55, 0.15])) + 1
    return [labels[index] for index in rng.choice(len(labels), size=count, replace=False)]


def draw_shortest(labels: Sequence[str], rng: np.random.Generator, gapless: float) -> Recording:
    """Written recording of two to four events of three to six tokens.

    A share `gapless` of the recordings has no gaps, the others have gaps of one or two tokens.
    """
    names = [labels[index] for index in rng.choice(len(labels), size=int(rng.integers(2, 5)), replace=False)]
    durations = rng.integers(3, 7, len(names)) / TOKENS_PER_SECOND
    if rng.random() < gapless:
        return _sequence(names, durations, np.zeros(len(names) - 1))
    return _sequence(names, durations, rng.integers(1, 3, len(names) - 1) / TOKENS_PER_SECOND)


def draw_short(labels: Sequence[str], rng: np.random.Generator) -> Recording:
    """Written recording of events of 1.0 to 1.4 s with gaps of one or two tokens."""
    names = draw_labels(labels, rng)
    return _sequence(names, rng.uniform(1.0, 1.4, len(names)), np.full(len(names) - 1, 0.2))


def draw_durations(count: int, rng: np.random.Generator, gapless: float) -> tuple[np.ndarray, np.ndarray]:
    """Durations [event] and gaps [event - 1] in seconds: two thirds as in the default run, the rest varied.

    A share `gapless` of both has no gaps. The whole never exceeds 18.5 s, which four events reach only when they are
    short.
    """
    if rng.random() < 2 / 3 and count < 4:
        durations, gaps = rng.uniform(4.5, 5.5, count), np.full(count - 1, 1.0)
    else:
        longest = min(6.0, (_LONGEST_RECORDING - 2.0 * (count - 1)) / count)
        durations, gaps = rng.uniform(2.0, longest, count), rng.uniform(0.0, 2.0, count - 1)
    if gapless and rng.random() < gapless:
        gaps = np.zeros(count - 1)
    return durations, gaps


def draw_long(labels: Sequence[str], rng: np.random.Generator, gapless: float) -> Recording:
    """Written recording of real length; a share `gapless` of the recordings has no gaps."""
    names = draw_labels(labels, rng)
    return _sequence(names, *draw_durations(len(names), rng, gapless))


class ClipPool:
    """Clips per label, kept as int16, from which recordings are mixed.

    Parameters
    ----------
    clips
        Label → int16 [frame] each, 16 kHz.
    entropy
        Purpose of the pool, one of the numbers above.
    recorded
        Whether the clips are real recordings to train on. They are few: an event may be two clips of its label at
        once, or fall silent but for a stretch. And their level tells what they are: it stays nearly as it is, as in
        the default run.
    """

    def __init__(self, clips: Mapping[str, Sequence[np.ndarray]], entropy: int, recorded: bool = False) -> None:
        self.labels = list(clips)
        self.entropy = entropy
        self._clips = clips
        self._recorded = recorded

    def draw(
        self, rng: np.random.Generator, benchmark_like: bool = False, gapless: float = 0.0
    ) -> tuple[Recording, np.ndarray]:
        """Mix a recording: clips at varied levels with noise between them.

        Parameters
        ----------
        rng
            Source of everything that varies.
        benchmark_like
            Three events of 4.5 to 5.5 s at their own levels, 1 s of energy-matched noise between them.
        gapless
            Share of the other recordings that have no noise between their events.

        Returns
        -------
        The recording and its sound, float32 [frame] at 16 kHz.
        """
        if benchmark_like:
            names = [self.labels[index] for index in rng.choice(len(self.labels), size=3, replace=False)]
            durations, gaps = rng.uniform(4.5, 5.5, 3), np.full(2, 1.0)
        else:
            names = draw_labels(self.labels, rng)
            durations, gaps = draw_durations(len(names), rng, gapless)
        durations = np.minimum(durations, 5.5)
        recording = _sequence(names, durations, gaps)
        gain = 10 ** (0.0 if benchmark_like or self._recorded else rng.uniform(-0.6, 0.1))
        clips = [self._cut(name, seconds, benchmark_like, rng) for name, seconds in zip(names, durations, strict=True)]
        levels = [float(np.sqrt(np.mean(clip**2))) for clip in clips]
        noise_level = 1.0 if benchmark_like or rng.random() < 0.5 else rng.choice([0.0, 0.05, 0.3, 1.5])
        sound = np.zeros(round(recording.seconds * SAMPLING_RATE), np.float32)
        for index, (event, clip) in enumerate(zip(recording.events, clips, strict=True)):
            onset, offset = round(event.onset * SAMPLING_RATE), round(event.offset * SAMPLING_RATE)
            sound[onset:offset] = clip[: offset - onset]
            if index + 1 < len(clips):
                end = round(recording.events[index + 1].onset * SAMPLING_RATE)
                level = noise_level * (levels[index] + levels[index + 1]) / 2
                sound[offset:end] = level * rng.standard_normal(end - offset)
        return recording, np.clip(sound * gain, -1, 1)

    def _cut(self, label: str, seconds: float, whole_level: bool, rng: np.random.Generator) -> np.ndarray:
        clip = self._take(label, rng)
        if self._recorded and rng.random() < _SHARE_OF_MIXED:
            clip = np.clip(clip + 10 ** rng.uniform(-1, 0.2) * self._take(label, rng), -1, 1)
        length = min(round(seconds * SAMPLING_RATE) + 1, len(clip))
        start = int(rng.integers(len(clip) - length + 1))
        clip = clip[start : start + length]
        if whole_level:
            return clip
        clip = clip * 10 ** rng.uniform(*(_OWN_LEVEL if self._recorded else _ANY_LEVEL))
        if self._recorded and rng.random() < _SHARE_OF_BRIEF:
            return brief(clip, rng)
        return clip

    def _take(self, label: str, rng: np.random.Generator) -> np.ndarray:
        clips = self._clips[label]
        return _as_float(clips[int(rng.integers(len(clips)))])


def synthesise_clips(
    labels: Sequence[str], clips_per_label: int, entropy: int, seed: int
) -> dict[str, list[np.ndarray]]:
    """Procedural clips of 5.5 s, label → int16 [frame] each; the seed is the run's, the entropy that of the purpose."""
    clips: dict[str, list[np.ndarray]] = {label: [] for label in labels}
    for index, label in enumerate(labels):
        for number in range(clips_per_label):
            sound = synthesize(label, _CLIP_SECONDS, np.random.default_rng([entropy, seed, index, number]))
            clips[label].append(_as_int16(sound))
    return clips


def recorded_clips(library: Esc50Library, words: Mapping[str, str]) -> dict[str, list[np.ndarray]]:
    """Clips of a library, label → int16 [frame] each, short ones repeated to 5.5 s.

    `words` renames labels; bad files are named in the log and left out.

    Raises
    ------
    UserError
        If the library cannot be read, or not one of its files can.
    """
    clips: dict[str, list[np.ndarray]] = {}
    bad: list[str] = []
    for entry in list_entries(library):
        try:
            clip = decode(entry.path, library.min_seconds)
        except BadFileError as error:
            bad.append(f"{entry.path} {error}")
            continue
        shortest = round(_CLIP_SECONDS * SAMPLING_RATE)
        clips.setdefault(words.get(entry.label, entry.label), []).append(np.resize(clip, max(len(clip), shortest)))
    if not clips:
        raise UserError(
            f"none of the recordings in {library.csv} can be read ({bad[0]}); "
            "let recordings.audio name the folder that holds them"
        )
    for problem in bad:
        logger.warning("%s; left out", problem)
    return dict(sorted(clips.items()))


def other_takes(
    clips: Mapping[str, Sequence[np.ndarray]], takes: int, entropy: int, seed: int
) -> dict[str, list[np.ndarray]]:
    """A number of takes of every clip (see `vary`) in place of it, label → int16 [frame] each."""
    return _of_every_clip(clips, takes, lambda clip, rng: vary(_as_float(clip), rng), entropy, seed)


def blends(
    clips: Mapping[str, Sequence[np.ndarray]], number: int, entropy: int, seed: int
) -> dict[str, list[np.ndarray]]:
    """A number of sounds without a name for every clip, under its label; int16 [frame] each.

    Each is a strongly varied take of the clip, mostly together with one of a clip of any label. Nobody could say what
    is heard, but what a texture it has is as true as of any sound.
    """
    every = [clip for sounds in clips.values() for clip in sounds]
    return _of_every_clip(clips, number, lambda clip, rng: _blend(clip, every, rng), entropy, seed, 0xB1E)


def _of_every_clip(
    clips: Mapping[str, Sequence[np.ndarray]], number: int, make: Callable, entropy: int, seed: int, *variant: int
) -> dict[str, list[np.ndarray]]:
    """What `make` makes of a clip and a random generator, a number of times for every clip."""
    made: dict[str, list[np.ndarray]] = {label: [] for label in clips}
    for index, label in enumerate(clips):
        for place, clip in enumerate(clips[label]):
            rng = np.random.default_rng([entropy, seed, index, place, *variant])
            made[label].extend(_as_int16(make(clip, rng)) for _ in range(number))
    return made


def _blend(clip: np.ndarray, every: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    def take(clip: np.ndarray) -> np.ndarray:
        return vary(_as_float(clip), rng, _BLEND_SPEED, rng.uniform(0, _BLEND_DECIBELS))

    sound = take(clip)
    if rng.random() < _SHARE_OF_TWO:
        second = take(every[int(rng.integers(len(every)))])
        ratio = np.sqrt(np.mean(sound**2)) / max(np.sqrt(np.mean(second**2)), 1e-9)
        sound = sound + ratio * 10 ** rng.uniform(*_SECOND_LEVEL) * second
    return sound * 10 ** rng.uniform(*_BLEND_LEVEL)


def vary(clip: np.ndarray, rng: np.random.Generator, speed: float = 1.15, decibels: float = 1.5) -> np.ndarray:
    """Another take of a clip [frame], as if recorded elsewhere; float32 [frame], 5.5 s.

    Faster or slower by at most the factor `speed`, begun elsewhere, through another microphone (a smooth frequency
    response, `decibels` its standard deviation), with some noise.
    """
    speed = speed ** rng.uniform(-1, 1)
    clip = np.interp(np.arange(0, len(clip) - 1, speed), np.arange(len(clip)), clip).astype(np.float32)
    clip = np.resize(np.roll(clip, int(rng.integers(len(clip)))), round(_CLIP_SECONDS * SAMPLING_RATE))
    level = np.sqrt(np.mean(clip**2))
    pitch = np.log1p(np.fft.rfftfreq(len(clip), 1 / SAMPLING_RATE).astype(np.float32) / 700)  # mel, but for a factor
    pitch /= pitch[-1]
    knots = int(rng.integers(3, 9))
    gains = np.interp(pitch, np.linspace(0, 1, knots), rng.normal(0, decibels, knots))
    response = (10 ** (gains / 20)).astype(np.float32)
    clip = np.fft.irfft(np.fft.rfft(clip) * response, len(clip))
    clip *= level / max(np.sqrt(np.mean(clip**2)), 1e-9)  # the stretch may be silent
    clip += level * np.float32(10 ** rng.uniform(-3.5, -0.9)) * rng.standard_normal(len(clip), np.float32)
    return np.clip(clip, -1, 1).astype(np.float32)


def brief(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch of a clip [frame], the rest nearly silent; the clip as it is where that would take most of its energy.

    Libraries pad short recordings with silence, which must not tell what they are.
    """
    length = int(rng.uniform(0.2, 0.8) * len(clip))
    start = int(rng.integers(len(clip) - length + 1))
    factor = np.full(len(clip), 10 ** rng.uniform(-5, -1), np.float32)
    factor[start : start + length] = 1.0
    enough = np.sum((clip * factor) ** 2) >= _BRIEF_ENERGY * np.sum(clip**2)
    return clip * factor if enough else clip


def _as_int16(sound: np.ndarray) -> np.ndarray:
    return np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)


def _as_float(clip: np.ndarray) -> np.ndarray:
    return clip.astype(np.float32) / 32767


def _sequence(names: Sequence[str], durations: np.ndarray, gaps: np.ndarray) -> Recording:
    onset, events = 0.0, []
    for index, (name, duration) in enumerate(zip(names, durations, strict=True)):
        events.append(Event(name, onset, onset + float(duration)))
        onset += float(duration) + (float(gaps[index]) if index < len(gaps) else 0.0)
    assert events[-1].offset <= MAX_SECONDS
    return Recording(tuple(events), events[-1].offset)
