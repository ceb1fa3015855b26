"""What is asked about: recordings whose events are known, questions with choices, and recordings of one's own."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.labels import Names
from wheretolisten.config.positions import name_positions
from wheretolisten.config.prompts import ABOUT_EVENT, ABOUT_QUESTION, PAIRED, RECORDED
from wheretolisten.config.sections import (
    SHORTEST_SECONDS,
    Section,
    UserPath,
    UserPaths,
    check_interval,
    check_repetition,
    check_template,
)

QUESTION_KINDS = ("order", "existence", "next", "absence", "previous")
"""What the questions that are made from sequences ask, one of each about a sample at most."""


class Overlap(Section):
    """Second sounds: each lies within an event, is mixed into it, and is asked for like any other event."""

    level_db: float = Field(
        0.0, ge=-40, le=40, description="level (RMS) of the second sound, in dB relative to that of the event"
    )
    n_events: int | None = Field(
        None, ge=1, description="how many events of a sample have a second sound, drawn for each sample; null: all"
    )
    fraction: float = Field(0.5, gt=0, lt=1, description="how long it lasts, as a part of the event's duration")


class Reverberation(Section):
    """A room: the recording, then its echoes as noise that decays exponentially."""

    rt60: float = Field(ge=0.05, le=5, description="seconds in which the echoes fall by 60 dB")
    direct_db: float = Field(
        0.0, ge=-20, le=40, description="energy of the direct path above that of all echoes together, in dB"
    )


class Codec(Section):
    """Lossy coding: the recording is encoded and decoded once."""

    format: Literal["mp3", "vorbis", "opus"] = Field(description="codec, as libsndfile has it")
    compression: float = Field(
        0.5, ge=0, le=0.95, description="libsndfile's level of compression; 0: best quality, towards 1: smallest file"
    )


def _check_gap(gap: Any) -> Any:
    """Refuse what is neither a duration nor a range of durations, in one sentence instead of one per possible type."""
    ends = gap if isinstance(gap, list | tuple) else [gap, gap]
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] <= 60:
        raise ValueError(
            f"{gap!r} is neither a number from 0 to 60 nor [shortest, longest] with 0 <= shortest <= longest <= 60 "
            "seconds"
        )
    return (float(ends[0]), float(ends[1])) if isinstance(gap, list | tuple) else float(gap)


DISTURBANCES = ("reverberation", "snr_db", "codec")
"""Keys of a composition that change how its recordings sound and neither what is heard in them nor when, in order."""


class Composition(Section):
    """What one sample is made of (SWL: three clips in sequence, noise between them)."""

    n_events: int = Field(3, ge=2, le=8, description="sounds in sequence; those of overlap are further ones")
    clip_seconds: tuple[float, float] = Field((4.5, 5.5), description="shortest and longest event, in seconds")
    gap_seconds: Annotated[Any, BeforeValidator(_check_gap)] = Field(
        1.0, description="noise between events, in seconds; [shortest, longest]: drawn for every gap"
    )
    gap_noise: Literal["white", "pink", "silence"] = Field(
        "white", description="noise of the gaps; as loud (RMS) as the two neighbours on average"
    )
    heard: Literal["clips", "noise", "silence"] = Field(
        "clips",
        description="where events lie: their clips; white noise as loud as these; or nothing, all through the "
        "recording. Without clips there is no sound to be found",
    )
    snr_db: float | None = Field(
        None,
        ge=-60,
        le=60,
        description="white noise all through the recording, so many dB below its events (RMS); null: none",
    )
    reverberation: Reverberation | None = Field(
        None, description="room that the recording sounds in, before noise is added; null: none"
    )
    codec: Codec | None = Field(
        None, description="lossy codec that the recording went through, after noise was added; null: none"
    )
    loudness: Literal["untouched", "rms"] = Field("untouched", description="rms: every clip to rms_level first")
    rms_level: float = Field(0.1, gt=0, lt=1, description="root mean square that loudness: rms brings clips to")
    domains: Literal["within", "mixed"] = Field("within", description="labels of a sample from one domain, or any")
    overlap: Overlap | None = Field(None, description="second sounds that are mixed into events; null: none")
    seed: int = Field(2606, ge=0, description="of all that is drawn")

    @model_validator(mode="after")
    def _check_ranges(self) -> "Composition":
        check_interval(self.clip_seconds, "clip_seconds")
        disturbed = [key for key in DISTURBANCES if getattr(self, key) is not None]
        if self.heard == "silence" and disturbed:
            raise ValueError(
                f"{disturbed[0]}: heard: silence leaves nothing that it could disturb; take one of the two out"
            )
        if self.overlap is None:
            return self
        if self.overlap.n_events is not None and self.overlap.n_events > self.n_events:
            raise ValueError(
                f"overlap.n_events: {self.overlap.n_events} events cannot have a second sound where a sample has "
                f"n_events: {self.n_events}; lower it, or set it to null for all"
            )
        shortest = self.overlap.fraction * self.clip_seconds[0]
        if shortest < SHORTEST_SECONDS:
            raise ValueError(
                f"overlap.fraction: second sounds would last {shortest:g} s, and an event lasts at least "
                f"{SHORTEST_SECONDS:g} s; raise it, or clip_seconds"
            )
        return self

    @property
    def n_overlaps(self) -> int:
        """Number of second sounds in a sample."""
        if self.overlap is None:
            return 0
        return self.n_events if self.overlap.n_events is None else self.overlap.n_events

    @property
    def positions(self) -> tuple[str, ...]:
        """Names of a sample's events in order of their onsets, of second sounds too."""
        n_events = self.n_events + self.n_overlaps
        return POSITIONS if n_events == self.n_events == len(POSITIONS) else name_positions(n_events)

    @property
    def gap_range(self) -> tuple[float, float]:
        """Shortest and longest gap, in seconds."""
        return self.gap_seconds if isinstance(self.gap_seconds, tuple) else (self.gap_seconds, self.gap_seconds)

    @property
    def equal(self) -> bool:
        """Whether the events of all samples lie at the same times."""
        return self.clip_seconds[0] == self.clip_seconds[1] and len(set(self.gap_range)) == 1 and not self.n_overlaps

    @property
    def longest_seconds(self) -> float:
        """Upper bound of a sample's duration, in seconds."""
        return self.n_events * self.clip_seconds[1] + (self.n_events - 1) * self.gap_range[1]


class Perturbation(Section):
    """Noise that is made to move the windows of a model, or random noise as strong, in all of a recording."""

    against: str | None = Field(
        description="model whose windows it moves away from events, asked against absent sounds; null: random noise, "
        "the control"
    )
    snr_db: float = Field(
        ge=0, le=60, description="how many dB it lies below the whole recording (RMS), at least; random noise exactly"
    )
    steps: int = Field(20, ge=1, description="gradients that are taken; of no use where it is random")


_OF_AUDIO = ("gap_noise", "heard", "loudness", "rms_level", *DISTURBANCES)
"""Keys of a composition that say how its audio sounds, and nothing of when."""


class Sequences(Section):
    """Recordings made of clips in sequence: every event is asked for."""

    has: ClassVar[frozenset[str]] = ABOUT_EVENT

    type: Literal["sequences"] = Field(description="clips in sequence, every event is asked for")
    sounds: str = Field(description="name of the sounds that clips are taken from")
    n_samples: int = Field(500, ge=1, description="recordings; adding some later changes none of the earlier ones")
    composition: Composition = Field(Composition(), description="what a recording is made of")
    perturbation: Perturbation | None = Field(
        None, description="small noise that is added to recordings once they are made; null: none"
    )


class Symbolic(Sequences):
    """The same sequences without audio: in its place, models hear their own embeddings of labels, in noise."""

    type: Literal["symbolic"] = Field(description="words in sequence, in the place of sounds; every event is asked for")
    sounds: str = Field(description="name of the sounds that labels, and the lengths of clips, are taken from")
    composition: Composition = Field(
        Composition(), description="what a recording is made of; keys that say how it sounds keep their defaults"
    )
    tokens_per_second: float = Field(
        6.25, ge=1, le=25, description="audio tokens per second; the families of audio-language models have 6.25 to 25"
    )
    noise: float = Field(
        1.0,
        ge=0,
        le=100,
        description="standard deviation of the noise in all audio tokens, relative to the root mean square of the "
        "embeddings of the words that sound",
    )

    @model_validator(mode="after")
    def _check_sound(self) -> "Symbolic":
        composition, default = self.composition, Composition()
        changed = [key for key in _OF_AUDIO if getattr(composition, key) != getattr(default, key)]
        if composition.overlap is not None and composition.overlap.level_db != 0:
            changed.append("overlap.level_db")
        if self.perturbation is not None:
            raise ValueError("perturbation: symbolic examples have no audio that it could be added to; take it out")
        if changed:
            raise ValueError(
                f"composition.{changed[0]}: symbolic examples have no audio that it could change; take it out"
            )
        overlap = composition.overlap
        shortest = composition.clip_seconds[0] * (1 if overlap is None else overlap.fraction)
        if round(shortest * self.tokens_per_second) < 1:
            raise ValueError(
                f"tokens_per_second: events of {shortest:g} s are shorter than half a token at "
                f"{self.tokens_per_second:g} tokens per second; raise it, or lengthen the events"
            )
        return self


class MmauQuestions(Section):
    """Questions in MMAU's format, and the audio they are about."""

    has: ClassVar[frozenset[str]] = ABOUT_QUESTION

    type: Literal["mmau"] = Field(description="items in MMAU's format")
    path: UserPath = Field(
        description="json: a list of items with id, audio_id, question, choices and, unless withheld, answer"
    )
    audio: UserPath = Field(description="folder that every audio_id starts from")
    splits: list[str] | None = Field(None, min_length=1, description="keep items of these splits only; null: all")
    n_items: int | None = Field(None, ge=1, description="keep the first ones only; null: all")
    max_seconds: float = Field(
        30.0, ge=0.1, le=600, description="longer recordings are cut off here, as the models' own processors do"
    )
    on_bad_item: Literal["skip", "refuse"] = Field(
        "skip", description="an item that is broken, or whose audio is: name and skip it, or stop"
    )

    @model_validator(mode="after")
    def _check_splits(self) -> "MmauQuestions":
        check_repetition(self.splits or [], "split")
        return self


class Questions(Section):
    """Questions with choices, made from what sequences are known to hold."""

    has: ClassVar[frozenset[str]] = ABOUT_QUESTION

    type: Literal["questions"] = Field(description="questions with choices, made from what sequences hold")
    about: str = Field(description="name of the sequences whose samples are asked about")
    n_items: int = Field(60, ge=1, description="at most; a sample yields up to five")
    seed: int = Field(0, ge=0, description="of the choice and order of items")
    suggestion: str | None = Field(
        None,
        description="said before each question of a {label} that is not heard, and that the question or its choices "
        'name where they name one, as in "There is the sound of {label}."; answers stay what they are; null: nothing',
    )

    @model_validator(mode="after")
    def _check_suggestion(self) -> "Questions":
        if self.suggestion is not None:
            check_template(self.suggestion, "suggestion", {"label"})
        return self

    def n_items_about(self, n_samples: int) -> int:
        """Number of items about `n_samples`."""
        return min(self.n_items, n_samples * len(QUESTION_KINDS))


class Recordings(Section):
    """Recordings of one's own, perhaps with what is heard in them, and when."""

    has: ClassVar[frozenset[str]] = RECORDED

    type: Literal["recordings"] = Field(description="recordings of one's own")
    audio: UserPath = Field(description="folder that they lie in")
    csv: UserPath | None = Field(
        None,
        description="table with the column recording, a path in that folder, and perhaps sounds, which are asked about "
        "it, with ; between; null: every audio file in the folder and below it",
    )
    events: UserPath | None = Field(
        None,
        description="table of what is heard: recording, label, onset, offset (seconds), or the columns of DESED or of "
        "AudioSet's strong labels; null: nobody knows, and nothing is scored",
    )
    names: UserPath | None = Field(
        None, description="table without a heading: label of events, its name in words; null: labels are names"
    )
    sounds: Names | None = Field(
        None,
        min_length=1,
        description="asked about every recording that csv names none for; null: the labels of events, or else all that "
        "the model was made for",
    )
    max_seconds: float = Field(
        60.0, ge=1, le=14400, description="longest recording; says how many one job handles, longer ones are refused"
    )

    @model_validator(mode="after")
    def _check_names(self) -> "Recordings":
        if self.names is not None and self.events is None:
            raise ValueError("names: there are no events whose labels they could name; add events, or take names out")
        return self


class Pairs(Section):
    """Questions with two answers each, which differ along an axis; no audio."""

    has: ClassVar[frozenset[str]] = PAIRED

    type: Literal["pairs"] = Field(description="questions with two answers that differ along an axis, without audio")
    path: UserPaths = Field(
        description="table with the columns id, source, axis, question, positive, negative, or a list of such tables"
    )


Examples = Annotated[Sequences | Symbolic | Questions | MmauQuestions | Recordings | Pairs, Field(discriminator="type")]
"""`has` is what prompts about an example may name in braces."""
