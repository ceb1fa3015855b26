"""Measure how well listen.py tells sounds that are there from others, and write what it holds scores against.

Recordings of up to 16 s are mixed: none to three takes of the sound that is asked about, other sounds, noise between
them, in a third of them one sound over another; every sixth is one sound from begin to end. Tuning recordings without
the sound make the thresholds (`--calibration`, which is written), and other recordings, of other clips, say how often
a sound is heard that is there, and one that is not.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest

from wheretolisten import log
from wheretolisten.clips.pcm import quantise
from wheretolisten.clips.procedural import LABELS
from wheretolisten.clips.randomness import generator
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.models import Model
from wheretolisten.config.sounds import Esc50Library
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.files import write_text
from wheretolisten.listening.calibration import RATES, Calibration, fingerprint, quantiles
from wheretolisten.listening.hear import Listener
from wheretolisten.statistics.measures import HIT_IOU, measure
from wheretolisten.tiny.recordings import EVALUATION_CLIPS, TUNING_CLIPS, recorded_clips, synthesise_clips

_SECONDS = 16.0
_MOST = 3


@dataclass(frozen=True)
class Mixture:
    """A recording, int16 [frame] at 16 kHz; the sound it is about, and its events: label, onset, offset in seconds."""

    pcm: np.ndarray
    about: str
    events: tuple[tuple[str, float, float], ...]

    def times_of(self, label: str) -> list[tuple[float, float]]:
        """Onset and offset of every event of a label."""
        return [(onset, offset) for each, onset, offset in self.events if each == label]


def mixtures(
    clips: Mapping[str, Sequence[np.ndarray]], n_recordings: int, takes: Sequence[int], seed: int, n_joined: int = 1
) -> Iterator[Mixture]:
    """Recordings about each label in turn, with so many takes of it in turn; every sixth is one sound alone.

    With `n_joined` each is followed by more without the sound.
    """
    labels = list(clips)
    for index in range(n_recordings):
        rng, place = generator("listening", seed, index), index % len(labels)
        about, n_takes = labels[place], takes[index // len(labels) % len(takes)]
        if rng.random() < 1 / 6:
            label = about if n_takes else labels[(place + int(rng.integers(1, len(labels)))) % len(labels)]
            clip = _take(clips[label], rng)[: round(rng.uniform(1.5, 5.5) * SAMPLING_RATE)]
            mixture = Mixture(quantise(0.7 * clip), about, ((label, 0.0, len(clip) / SAMPLING_RATE),))
        else:
            mixture = _mixed(clips, about, n_takes, rng)
        for _ in range(n_joined - 1):
            mixture = _followed(mixture, _mixed(clips, about, 0, rng))
        yield mixture


def _followed(first: Mixture, second: Mixture) -> Mixture:
    seconds = len(first.pcm) / SAMPLING_RATE
    later = tuple((label, onset + seconds, offset + seconds) for label, onset, offset in second.events)
    return Mixture(np.concatenate([first.pcm, second.pcm]), first.about, (*first.events, *later))


def _mixed(clips: Mapping[str, Sequence[np.ndarray]], about: str, n_takes: int, rng: np.random.Generator) -> Mixture:
    others = [label for label in clips if label != about]
    n_others = int(rng.integers(max(1, 2 - n_takes), 5 - n_takes + (n_takes == _MOST)))
    others = [others[place] for place in rng.permutation(len(others))]
    names = rng.permutation([about] * n_takes + others[:n_others]).tolist()
    gaps, seconds = rng.uniform(0.3, 2.0, len(names) + 1), rng.uniform(1.5, 5.0, len(names))
    seconds *= min(1.0, (_SECONDS - 0.1 - gaps.sum()) / seconds.sum())
    sound = np.zeros(round((gaps.sum() + seconds.sum()) * SAMPLING_RATE))
    gap, events, levels, onset = np.ones(len(sound), dtype=bool), [], [], gaps[0]
    for name, lasts, pause in zip(names, seconds, gaps[1:], strict=True):
        clip = _cut(_take(clips[name], rng), lasts, rng) * 10 ** rng.uniform(-0.3, 0.1)
        first = round(onset * SAMPLING_RATE)
        sound[first : first + len(clip)] = clip
        gap[first : first + len(clip)] = False
        events.append((name, first / SAMPLING_RATE, (first + len(clip)) / SAMPLING_RATE))
        levels.append(float(np.sqrt(np.mean(clip**2))))
        onset += lasts + pause
    sound[gap] = rng.choice([0.05, 0.3, 1.0]) * np.mean(levels) * rng.standard_normal(int(gap.sum()))
    if rng.random() < 1 / 3:
        host = int(rng.integers(len(names)))
        _, onset, offset = events[host]
        clip = _cut(_take(clips[others[n_others]], rng), (offset - onset) / 2, rng)
        clip = clip * (levels[host] / max(1e-6, float(np.sqrt(np.mean(clip**2)))))
        first = round((onset + rng.uniform(0, (offset - onset) / 2)) * SAMPLING_RATE)
        sound[first : first + len(clip)] += clip[: len(sound) - first]
        events.append((others[n_others], first / SAMPLING_RATE, (first + len(clip)) / SAMPLING_RATE))
    return Mixture(quantise(sound), about, tuple(events))


def _take(clips: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return clips[int(rng.integers(len(clips)))] / 32_768


def _cut(clip: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    length = min(round(seconds * SAMPLING_RATE), len(clip))
    first = int(rng.integers(len(clip) - length + 1))
    return clip[first : first + length]


def absent_scores(listen_to: Callable[[str], Listener], recordings: Iterable[Mixture], parts: Path) -> np.ndarray:
    """Scores of words that the recordings do not hold, [query]; `listen_to` makes the listener of a sound."""
    scores = []
    for mixture in recordings:
        listener = listen_to(mixture.about)
        best = listener.find(mixture.pcm, parts).best
        scores.extend(score for word, score in zip(listener.words, best, strict=True) if not mixture.times_of(word))
    return np.array(scores)


def measure_listening(
    listen_to: Callable[[str], Listener], recordings: Iterable[Mixture], known: Calibration, parts: Path
) -> dict[str, object]:
    """What is heard at the calibrated false-alarm rate, in percent, each with the number it is of.

    Returns
    -------
    `not_heard`: recordings without the sound they are about in which it is not heard. `located`: recordings with it in
    which an interval covers half of one of its events and lies in it by half (`by_takes`: by the number of takes;
    `whole`: where it is all of the recording). `events`: events of that sound with an interval of an intersection over
    union of one half; `right`: intervals with such an event. `rates`: by stated rate, how often a word that is not
    there, and the sound that the recording is about, are heard.
    """
    quiet, located, by_takes, events, right = [], [], defaultdict(list), [], []
    absent, present = [], []
    for mixture in recordings:
        listener = listen_to(mixture.about)
        found = listener.find(mixture.pcm, parts)
        (sound,) = listener.tell(found, len(mixture.pcm) / SAMPLING_RATE)["sounds"]
        scores = zip(listener.words, found.best, strict=True)
        absent.extend(score for word, score in scores if not mixture.times_of(word))
        times = mixture.times_of(mixture.about)
        intervals = [(each["onset"], each["offset"]) for each in sound["intervals"]]
        if not times:
            quiet.append(not sound["heard"])
            continue
        present.append(sound["score"])
        alike = np.array([[_iou(interval, time) for interval in intervals] for time in times]).reshape(len(times), -1)
        located.append(any(_by_half(interval, time) for interval in intervals for time in times))
        events.extend((alike >= HIT_IOU).any(axis=1))
        right.extend((alike >= HIT_IOU).any(axis=0))
        by_takes["whole" if len(mixture.events) == 1 else len(times)].append(located[-1])
    least = {rate: known.threshold(rate) for rate in RATES}
    return {
        "not_heard": _percent(quiet),
        "located": _percent(located),
        "by_takes": {takes: _percent(each) for takes, each in sorted(by_takes.items(), key=str)},
        "events": _percent(events),
        "right": _percent(right),
        "rates": {
            rate: [_percent(np.array(scores) >= score) for scores in (absent, present)] for rate, score in least.items()
        },
    }


def _iou(interval: tuple[float, float], time: tuple[float, float]) -> float:
    onset, offset = interval
    return measure(np.array([onset]), np.array([offset]), *time)["iou"]


def _by_half(interval: tuple[float, float], time: tuple[float, float]) -> bool:
    both = max(0.0, min(interval[1], time[1]) - max(interval[0], time[0]))
    return both >= 0.5 * (time[1] - time[0]) and both >= 0.5 * (interval[1] - interval[0])


def _percent(hits: Sequence[bool]) -> list[float | None]:
    """Share of hits with its 95 % interval (Wilson 1927, JASA 22:209), in percent, and their number."""
    n_hits, n = int(np.sum(hits)), len(hits)
    if not n:  # so few recordings were asked for that none is of this kind
        return [None, None, None, 0]
    found = binomtest(n_hits, n).proportion_ci(method="wilson")
    return [*(round(100 * share, 1) for share in (n_hits / n, found.low, found.high)), n]


def main(argv: list[str] | None = None) -> None:
    """Write the entry of a model in the file of calibrations, and print what was measured, JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--name", required=True, help="of the entry")
    add("--model", type=Path, required=True, help="checkpoint that is measured")
    add("--tuned", type=Path, help="checkpoint that thresholds are made with, where it is another one")
    add("--shipped", type=Path, action="append", default=[], help="further checkpoints that the entry is for")
    add("--words", nargs="*", default=list(LABELS), help="sounds that the model was made for")
    add("--csv", type=Path, help="table of real recordings laid out as ESC-50; without it sounds are synthesised")
    add("--audio", type=Path, help="folder of these recordings")
    add("--folds", type=int, nargs=2, metavar=("TUNED", "MEASURED"), help="of these recordings")
    add("--spoken", type=json.loads, default={}, help="category → word, JSON, where they differ")
    add("--method", choices=["ask", "steer"], default="ask")
    add("--false-alarms", type=float, default=0.05, help="rate at which sounds are called heard that are not there")
    add("--tuning", type=int, default=216, help="recordings that make the thresholds; 0: those of the file")
    add("--measured", type=int, default=216, help="recordings that are measured")
    add("--joined", type=int, default=1, help="recordings that make a long one, of which one has the sound")
    add("--calibration", type=Path, required=True, help="file of calibrations, which is read and written")
    arguments = parser.parse_args(argv)
    logger = log.start("evaluate_listening")
    torch.set_num_threads(1)

    def clips(turn: int) -> dict[str, list[np.ndarray]]:
        if arguments.csv is None:
            return synthesise_clips(list(LABELS), 20, (TUNING_CLIPS, EVALUATION_CLIPS)[turn], seed=0)
        library = Esc50Library(
            type="esc50", csv=str(arguments.csv), audio=str(arguments.audio), folds=[arguments.folds[turn]]
        )
        return recorded_clips(library, arguments.spoken)

    content = json.loads(arguments.calibration.read_text()) if arguments.calibration.is_file() else {}
    entry = content.setdefault(arguments.name, {"scores": {}})
    entry |= {"words": arguments.words, "false_alarms": arguments.false_alarms}
    folders = [*arguments.shipped, arguments.model, *([arguments.tuned] if arguments.tuned else [])]
    entry["fingerprints"] = list(dict.fromkeys(map(fingerprint, folders)))

    def listener(checkpoint: Path, known: Calibration | None) -> Callable[[str], Listener]:
        engine = Engine(selfcheck.load(Model(checkpoint=str(checkpoint))))
        return lambda sound: Listener(engine, [sound], arguments.words, arguments.method, known)

    with tempfile.TemporaryDirectory() as parts:
        if arguments.tuning:
            recordings = mixtures(clips(0), arguments.tuning, (0,), seed=0)
            scores = absent_scores(listener(arguments.tuned or arguments.model, None), recordings, Path(parts))
            logger.info("%d scores of absent sounds", len(scores))
            entry["scores"][arguments.method] = quantiles(scores)
            write_text(arguments.calibration, json.dumps(content, indent=2) + "\n")
        known = Calibration(tuple(arguments.words), arguments.false_alarms, tuple(entry["scores"][arguments.method]))
        recordings = mixtures(clips(1), arguments.measured, (0, 1, 0, 2, 0, 3), seed=1, n_joined=arguments.joined)
        found = measure_listening(listener(arguments.model, known), recordings, known, Path(parts))
    print(json.dumps(found))


if __name__ == "__main__":
    log.run(main)
