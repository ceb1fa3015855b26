"""Which clips a sample is made of, and when each is heard (SWL §4). Nothing here reads audio.

Sample i is a function of the composition's settings, the clips and i: adding samples changes no earlier one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wheretolisten.clips.randomness import generator
from wheretolisten.clips.records import Clip
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.examples import Composition
from wheretolisten.errors import UserError

MIXED = "mixed"
"""Domain of a sample whose labels come from several domains."""


@dataclass(frozen=True)
class Event:
    """A stretch of a clip, and where it lies in the sample; all in audio samples at 16 kHz."""

    clip: Clip
    clip_start: int
    """First frame of the clip that is heard."""
    n_frames: int
    onset: int
    """First frame in the sample."""
    mixed_into: int | None = None
    """For a second sound: number in the plan of the event that it is mixed into."""

    @property
    def offset(self) -> int:
        """Frame in the sample after the last."""
        return self.onset + self.n_frames


@dataclass(frozen=True)
class Plan:
    """A sample before it is rendered: its events in sequence, then the second sounds that are mixed into them."""

    index: int
    events: tuple[Event, ...]

    @property
    def sample_id(self) -> str:
        """Index of the sample, zero-padded."""
        return f"{self.index:05d}"

    @property
    def n_frames(self) -> int:
        """Duration of the sample in frames: no gap follows the last event."""
        return self.in_sequence[-1].offset

    @property
    def in_sequence(self) -> tuple[Event, ...]:
        """The events without second sounds, in order of time."""
        return tuple(event for event in self.events if event.mixed_into is None)


class Composer:
    """Plans samples from a set of clips.

    Parameters
    ----------
    settings
        The composition.
    clips
        The clips of a library, in any order.

    Raises
    ------
    UserError
        If a domain has fewer labels with a clip of sufficient length than a sample has events.
    """

    def __init__(self, settings: Composition, clips: Sequence[Clip]) -> None:
        self.settings = settings
        self._shortest, self._longest = (round(seconds * SAMPLING_RATE) for seconds in settings.clip_seconds)
        self._shortest_gap, self._longest_gap = (round(seconds * SAMPLING_RATE) for seconds in settings.gap_range)
        self._clips: dict[str, list[Clip]] = defaultdict(list)
        groups: dict[str, set[str]] = defaultdict(set)
        all_labels: dict[str, set[str]] = defaultdict(set)
        for clip in sorted(clips, key=lambda clip: clip.clip_id):
            group = clip.domain if settings.domains == "within" else MIXED
            all_labels[group].add(clip.label)
            if clip.n_frames >= self._shortest:
                self._clips[clip.label].append(clip)
                groups[group].add(clip.label)
        for group, labels in sorted(all_labels.items()):
            self._check(group, labels, groups[group])
        self._groups = [(group, sorted(groups[group])) for group in sorted(groups)]
        if not self._groups:
            raise UserError("the table of clips is empty; prepare the clips again")
        self._check_domains(clips)

    def plan(self, index: int) -> Plan:
        """Compose sample `index`, counted from 0. Domains take turns."""
        turn, which = divmod(index, len(self._groups))
        rng = generator("sample", self.settings.seed, index)
        labels, second_labels = self._labels(*self._groups[which], turn)
        events = []
        onset = 0
        for number, label in enumerate(labels):
            clip = self._clips[label][rng.integers(len(self._clips[label]))]
            n_frames, clip_start = clip.n_frames, 0
            if n_frames > self._longest:
                n_frames = int(rng.integers(self._shortest, self._longest, endpoint=True))
                clip_start = int(rng.integers(clip.n_frames - n_frames, endpoint=True))
            events.append(Event(clip, clip_start, n_frames, onset))
            onset += n_frames + self._gap(index, number)
        return Plan(index, (*events, *self._second_sounds(index, events, second_labels)))

    def _gap(self, index: int, number: int) -> int:
        """Frames between event `number` of a sample and the next one."""
        if self._shortest_gap == self._longest_gap:
            return self._shortest_gap
        rng = generator("gap length", self.settings.seed, index, number)
        return int(rng.integers(self._shortest_gap, self._longest_gap, endpoint=True))

    def _second_sounds(self, index: int, events: Sequence[Event], labels: Sequence[str]) -> list[Event]:
        """One sound per label, each within another event. The streams are their own: the events stay as they were."""
        if not labels:
            return []
        rng = generator("overlap", self.settings.seed, index)
        sounds = []
        for host, label in zip(sorted(rng.permutation(len(events))[: len(labels)].tolist()), labels, strict=True):
            event = events[host]
            rng = generator("overlap", self.settings.seed, index, host)
            clip = self._clips[label][rng.integers(len(self._clips[label]))]
            n_frames = min(round(self.settings.overlap.fraction * event.n_frames), clip.n_frames)
            clip_start = int(rng.integers(clip.n_frames - n_frames, endpoint=True))
            onset = event.onset + int(rng.integers(event.n_frames - n_frames, endpoint=True))
            sounds.append(Event(clip, clip_start, n_frames, onset, mixed_into=host))
        return sounds

    def _labels(self, group: str, labels: Sequence[str], turn: int) -> tuple[list[str], list[str]]:
        """Labels of a group's sample number `turn`: of the events in sequence, and of the second sounds.

        As many samples in a row as there are labels form a block: a random order of the labels, read from as many
        places as a sample has events. Within a block every label is heard once at every place, and in no sample twice.
        """
        block, step = divmod(turn, len(labels))
        rng = generator("labels", self.settings.seed, group, block)
        order = rng.permutation(len(labels))
        places = rng.choice(len(labels), size=self.settings.n_events, replace=False)
        rng = generator("overlap labels", self.settings.seed, group, block)
        others = rng.permutation(np.setdiff1d(np.arange(len(labels)), places))[: self.settings.n_overlaps]
        first, second = ([labels[order[(place + step) % len(labels)]] for place in of] for of in (places, others))
        return first, second

    def _check(self, group: str, labels: set[str], eligible: set[str]) -> None:
        needed = len(self.settings.positions)
        if len(eligible) >= needed:
            return
        where = "the clip library" if group == MIXED else f"domain {group!r}"
        listed = ", ".join(sorted(eligible)) or "none"
        short = ", ".join(sorted(labels - eligible))
        reason = f"; too short are all clips of {short}" if short else ""
        remedy = f"lower composition.clip_seconds{' or n_events' if self.settings.n_events > 2 else ''}, or add clips"
        if group != MIXED:
            remedy += ", or set composition.domains: mixed"
        raise UserError(
            f"{where} has {len(eligible)} label(s) with clips of at least {self.settings.clip_seconds[0]:g} s "
            f"({listed}{reason}), and a sample needs {needed}; {remedy}"
        )

    @staticmethod
    def _check_domains(clips: Sequence[Clip]) -> None:
        domain_of: dict[str, str] = {}
        for clip in clips:
            if domain_of.setdefault(clip.label, clip.domain) != clip.domain:
                raise UserError(
                    f"label {clip.label!r} is in the domains {domain_of[clip.label]!r} and {clip.domain!r}; "
                    "a label belongs to one domain, so rename one of the two"
                )
