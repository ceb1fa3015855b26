"""Which clips a sample is made of, and when each is heard (SWL §4). Nothing here reads audio.

Sample i is a function of the composition's settings, the clips and i: adding samples changes no earlier one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from wheretolisten.clips.randomness import generator
from wheretolisten.clips.records import Clip
from wheretolisten.config.benchmarks import Composition
from wheretolisten.config.constants import POSITIONS, SAMPLING_RATE
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

    @property
    def offset(self) -> int:
        """Frame in the sample after the last."""
        return self.onset + self.n_frames


@dataclass(frozen=True)
class Plan:
    """A sample before it is rendered: its events in order of time, one per position."""

    index: int
    events: tuple[Event, ...]

    @property
    def sample_id(self) -> str:
        """Index of the sample, zero-padded."""
        return f"{self.index:05d}"

    @property
    def n_frames(self) -> int:
        """Duration of the sample in frames: no gap follows the last event."""
        return self.events[-1].offset


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
        If a domain has fewer than three labels with a clip of sufficient length.
    """

    def __init__(self, settings: Composition, clips: Sequence[Clip]) -> None:
        self.settings = settings
        self._shortest, self._longest = (round(seconds * SAMPLING_RATE) for seconds in settings.clip_seconds)
        self._gap = round(settings.gap_seconds * SAMPLING_RATE)
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
        events = []
        onset = 0
        for label in self._labels(*self._groups[which], turn):
            clip = self._clips[label][rng.integers(len(self._clips[label]))]
            n_frames, clip_start = clip.n_frames, 0
            if n_frames > self._longest:
                n_frames = int(rng.integers(self._shortest, self._longest, endpoint=True))
                clip_start = int(rng.integers(clip.n_frames - n_frames, endpoint=True))
            events.append(Event(clip, clip_start, n_frames, onset))
            onset += n_frames + self._gap
        return Plan(index, tuple(events))

    def _labels(self, group: str, labels: Sequence[str], turn: int) -> list[str]:
        """Labels of a group's sample number `turn`, one per position.

        As many samples in a row as there are labels form a block: a random order of the labels, read from three places.
        Within a block every label is heard once at every position.
        """
        block, step = divmod(turn, len(labels))
        rng = generator("labels", self.settings.seed, group, block)
        order = rng.permutation(len(labels))
        places = rng.choice(len(labels), size=len(POSITIONS), replace=False)
        return [labels[order[(place + step) % len(labels)]] for place in places]

    def _check(self, group: str, labels: set[str], eligible: set[str]) -> None:
        if len(eligible) >= len(POSITIONS):
            return
        where = "the clip library" if group == MIXED else f"domain {group!r}"
        listed = ", ".join(sorted(eligible)) or "none"
        short = ", ".join(sorted(labels - eligible))
        reason = f"; too short are all clips of {short}" if short else ""
        remedy = "lower composition.clip_seconds or add clips"
        if group != MIXED:
            remedy += ", or set composition.domains: mixed"
        raise UserError(
            f"{where} has {len(eligible)} label(s) with clips of at least {self.settings.clip_seconds[0]:g} s "
            f"({listed}{reason}), and a sample needs {len(POSITIONS)}; {remedy}"
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
