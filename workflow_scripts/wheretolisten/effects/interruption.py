"""A model that listens and speaks at once is interrupted: how long it goes on, what it misses, and what steering does.

Kept as published (arXiv 2606.11386): the direction, mean state of listening steps minus that of speaking steps of
dialogues turn by turn; steps told apart by logit-lens scores or by the clock; α(1 − (t − t_int)/ΔT)·μ added at one
block while t_int ≤ t < t_int + ΔT, to what the cache keeps; the first word that decides; false triggers in normal
answers. Ours: streams of words in place of audio, whose onset is known; settings chosen on dialogues that share no word
with those that are reported; a random direction and the wrong sign beside it.
"""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from wheretolisten.clips.randomness import generator
from wheretolisten.config.effects import UNSTEERED
from wheretolisten.config.interruption import INTERRUPTION, RANDOM, REVERSED, UNINTERRUPTED, Interruption
from wheretolisten.config.probe import Decoding, Steering
from wheretolisten.directions import steps
from wheretolisten.directions.builders import agreement
from wheretolisten.directions.vectors import norms
from wheretolisten.effects.arms import best_within, check_sign
from wheretolisten.effects.measuring import Row, divergence
from wheretolisten.effects.pairs import BUILD, CHOOSE, REPORT, Pair
from wheretolisten.engine.injection import Injection
from wheretolisten.engine.streams import END, ONSET, SILENCE, Stepper, Streams, Vocabulary
from wheretolisten.errors import UserError

_log = logging.getLogger(__name__)

_MOVED = 8
"""Steps from a false trigger on over which the divergence is averaged."""

Setting = tuple[str, str, float, list[Row]]
"""Split, blocks, strength, and what was measured there."""


@dataclass(frozen=True)
class Dialogue:
    """What the user says, token by token, and what is right to answer.

    Attributes
    ----------
    pair
        The question that is decisive.
    user
        Tokens of the user's stream, [step].
    start, end
        Steps at which this question begins and ends; an answer may begin at the latter.
    words
        Tokens of the right answer.
    rival
        The first token of the wrong one.
    """

    pair: Pair
    user: tuple[int, ...]
    start: int
    end: int
    words: tuple[int, ...]
    rival: int


@dataclass(frozen=True, eq=False)
class Played:
    """What a model said in dialogues, and what its states were, [dialogue, step, …].

    Attributes
    ----------
    own
        Tokens of its stream, [dialogue, step].
    likely
        Log-probabilities of what it says at each step, over the vocabulary, -inf beyond its own stream.
    speaking, listening
        S_gen and S_perc: what the states after the lens's blocks give, on average, to its own token and to the user's
        next one; the latter NaN at the last step.
    states
        After every block, [dialogue, step, layer, width].
    """

    own: np.ndarray
    likely: np.ndarray
    speaking: np.ndarray
    listening: np.ndarray
    states: np.ndarray


@dataclass(frozen=True, eq=False)
class Steered:
    """A direction, [layer, width], how it is added, and the step of each dialogue from which on."""

    vectors: np.ndarray
    steering: Steering
    onsets: Sequence[int]


def turn_by_turn(pair: Pair, vocabulary: Vocabulary, settings: Interruption) -> Dialogue:
    """The question while the model is silent, and silence while it is answered.

    Raises
    ------
    UserError
        If the model does not know a word.
    """
    before = [vocabulary.user[SILENCE]] * settings.silence
    return _dialogue(pair, before, vocabulary, settings)


def interrupting(pair: Pair, other: Pair, after: int, vocabulary: Vocabulary, settings: Interruption) -> Dialogue:
    """The question while the model answers another one, of which it has said so many tokens."""
    first = turn_by_turn(other, vocabulary, settings)
    return _dialogue(pair, list(first.user[: first.end + after]), vocabulary, settings)


def _dialogue(pair: Pair, before: list[int], vocabulary: Vocabulary, settings: Interruption) -> Dialogue:
    where = f"{pair.pair_id}"
    asked = vocabulary.heard([ONSET, *pair.question.split(), END], where)
    words = vocabulary.said(pair.positive.split(), where)
    rival = vocabulary.said(pair.negative.split(), where)[0]
    if rival == words[0]:
        raise UserError(f"{where}: both answers begin with the same word, and the first is decisive; change one")
    after = [vocabulary.user[SILENCE]] * settings.answer
    end = len(before) + len(asked) - 1
    return Dialogue(pair, (*before, *asked, *after), len(before), end, tuple(words), rival)


def dialogues_of(
    pairs: Sequence[Pair], vocabulary: Vocabulary, settings: Interruption
) -> tuple[list[Dialogue], list[Dialogue]]:
    """Every question of a side turn by turn, and as an interruption of another one of the side.

    Which one, and after how many tokens, is drawn for each question by itself; it is of another source.

    Raises
    ------
    UserError
        If all are of one source.
    """
    alone = [turn_by_turn(pair, vocabulary, settings) for pair in pairs]
    found = []
    for pair in pairs:
        rng = generator("interruption", settings.seed, pair.pair_id)
        others = [other for other in pairs if other.source != pair.source]
        if not others:
            raise UserError(f"all dialogues of a side have the source {pair.source!r}; add some of other sources")
        other = others[rng.integers(len(others))]
        found.append(interrupting(pair, other, int(rng.integers(*settings.after, endpoint=True)), vocabulary, settings))
    return alone, found


def play(
    streams: Streams,
    dialogues: Sequence[Dialogue],
    lens: Sequence[int],
    steered: Steered | None = None,
    said: np.ndarray | None = None,
) -> Played:
    """Let a model listen to dialogues and say at each step what is likeliest.

    Parameters
    ----------
    streams
        The model.
    dialogues
        They go through side by side; shorter ones end in silence.
    lens
        Blocks over which the scores are averaged.
    steered
        How its states are changed; None: not at all.
    said
        What it is to have said, in place of what is likeliest, [dialogue, step].
    """
    vocabulary, device = streams.vocabulary, streams.adapter.device
    n_steps, silence = max(len(each.user) for each in dialogues), vocabulary.user[SILENCE]
    user = torch.tensor([[*each.user, *[silence] * (n_steps - len(each.user))] for each in dialogues], device=device)
    injected, onsets = None, None
    if steered is not None:
        vectors = torch.from_numpy(np.asarray(steered.vectors, np.float32)).expand(len(dialogues), -1, -1)
        injected = Injection.of(vectors, steered.steering, None, device)
        onsets = torch.tensor(list(steered.onsets))
    stepper = Stepper(streams.adapter, injected, onsets)
    before = torch.full((len(dialogues),), vocabulary.model[SILENCE], device=device)
    own, likely, speaking, listening, states = [], [], [], [], []
    for number in range(n_steps):
        left = stepper.step(streams.embed(user[:, number], before))
        predicted = streams.log_probabilities(left.final)
        before = predicted.argmax(dim=-1) if said is None else torch.from_numpy(said[:, number]).to(device)
        seen = streams.lens(left.states[:, list(lens)])
        speaking.append(_given_to(seen, before))
        ahead = _given_to(seen, user[:, number + 1]) if number + 1 < n_steps else torch.full_like(speaking[-1], np.nan)
        listening.append(ahead)
        own.append(before)
        likely.append(predicted)
        states.append(left.states)
    kept = (torch.stack(each, dim=1).cpu().numpy() for each in (own, likely, speaking, listening, states))
    return Played(*kept)


def _given_to(seen: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Mean over blocks of the probability of a token, [row, layer, vocabulary], [row] → [row]."""
    return seen.gather(-1, tokens[:, None, None].expand(-1, seen.shape[1], 1))[..., 0].mean(dim=1)


def measure(
    dialogues: Sequence[Dialogue], played: Played, silence: int, alone: Played | None, settings: Interruption
) -> list[Row]:
    """What became of questions.

    Parameters
    ----------
    dialogues
        They.
    played
        What the model said.
    silence
        Its token of silence.
    alone
        The un-steered model while the same questions are asked turn by turn, for its lag of perceiving; None: the
        questions interrupt nobody, and there is no lag.

    Returns
    -------
    list of Row
        lag: steps from the onset of the question to the first one at which the model is silent. perceived: steps until
        the user's next token is at least `heard` times as likely as at the same word of the same question turn by turn;
        the length of the question where it never is. first_word: whether the answer begins with the right word (IWOR);
        kept: whether all of its words are right; margin: log P(right first word) − log P(the wrong answer's), in nats,
        at the step at which an answer is due.
    """
    starts, ends = (np.array([getattr(each, key) for each in dialogues]) for key in ("start", "end"))
    rows, quiet = [], played.own == silence
    if alone is not None:
        rows += _rows("lag", dialogues, steps.steps_until(quiet, starts))
        first = settings.silence
        hears = [
            heard[each.start : each.end] >= settings.heard * before[first : first + each.end - each.start]
            for heard, before, each in zip(played.listening, alone.listening, dialogues, strict=True)
        ]
        rows += _rows("perceived", dialogues, [steps.steps_until(each[None], np.zeros(1, int))[0] for each in hears])
    begins = ends + steps.steps_until(~quiet, ends)
    answers = [
        tuple(own[begin : begin + len(each.words)])
        for own, begin, each in zip(played.own, begins, dialogues, strict=True)
    ]
    right = [(said[:1] == each.words[:1], said == each.words) for said, each in zip(answers, dialogues, strict=True)]
    rows += _rows("first_word", dialogues, [first for first, _ in right])
    rows += _rows("kept", dialogues, [whole for _, whole in right])
    due = [likely[each.end] for likely, each in zip(played.likely, dialogues, strict=True)]
    margins = [own[each.words[0]] - own[each.rival] for own, each in zip(due, dialogues, strict=True)]
    return [*rows, *_rows("margin", dialogues, margins)]


def _rows(measure: str, dialogues: Sequence[Dialogue], values: Sequence[float], axis: str = INTERRUPTION) -> list[Row]:
    return [
        Row(measure, each.pair.pair_id, each.pair.source, float(value), axis)
        for each, value in zip(dialogues, values, strict=True)
    ]


@dataclass(eq=False)
class InterruptionStudy:
    """All arms of a study on one model.

    Parameters
    ----------
    streams
        The model.
    settings
        The study.
    sides
        Side → pairs, as `pairs.split` has them.

    Raises
    ------
    UserError
        If the model does not know a word, or has not the blocks that are named.
    """

    streams: Streams
    settings: Interruption
    sides: Mapping[str, Sequence[Pair]]
    directions: dict[str, np.ndarray] = field(default_factory=dict)
    """Arm → its directions, [draw, layer, width]; what is measured is averaged over draws."""
    _chosen: dict[str, tuple[int, float, int]] = field(default_factory=dict)
    """Arm → block, strength, steps of the window."""

    def __post_init__(self) -> None:
        n_layers = self.streams.adapter.n_layers
        second_half = range(n_layers // 2, n_layers)
        self._lens = self._named("lens", self.settings.lens, second_half)
        self._blocks = self._named("blocks", self.settings.blocks, range(n_layers))
        self._silence = self.streams.vocabulary.model[SILENCE]
        self._of_side = {
            side: dialogues_of(pairs, self.streams.vocabulary, self.settings) for side, pairs in self.sides.items()
        }
        self._alone = {side: self._play(alone) for side, (alone, _) in self._of_side.items()}
        self._lengths = norms(self._alone[BUILD].states.reshape(-1, *self._alone[BUILD].states.shape[2:])).mean(axis=0)
        for how in self.settings.steps:
            self.directions[how] = steps.contrast(self._alone[BUILD].states, *self.kinds(how, BUILD))[None]
        first = self.directions[self.settings.steps[0]]
        rng = generator("interruption", self.settings.seed, RANDOM)
        drawn = rng.standard_normal((self.settings.draws, *first.shape[1:]))
        self.directions[RANDOM] = drawn * (norms(first) / norms(drawn))[..., None]
        self.directions[REVERSED] = -first

    def _named(self, key: str, named: list[int] | None, others: range) -> list[int]:
        n_layers = self.streams.adapter.n_layers
        for block in named or ():
            if block >= n_layers:
                raise UserError(f"{key}: block {block} does not exist; the model has {n_layers}, choose from 0 on")
        return list(others) if named is None else named

    def _play(
        self, dialogues: Sequence[Dialogue], steered: Steered | None = None, said: np.ndarray | None = None
    ) -> Played:
        return play(self.streams, dialogues, self._lens, steered, said)

    def kinds(self, how: str, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps of listening and of speaking in the dialogues turn by turn of a side, [dialogue, step]."""
        alone, played = self._of_side[side][0], self._alone[side]
        if how == "clock":
            starts, ends = (np.array([getattr(each, key) for each in alone]) for key in ("start", "end"))
            clock = self.settings.clock
            return steps.by_clock(played.own.shape[1], starts, ends, clock.margin, clock.speaking)
        build = self._alone[BUILD]
        thresholds = [
            float(np.nanmean(scores)) if given is None else given
            for given, scores in (
                (self.settings.generating, build.speaking),
                (self.settings.perceiving, build.listening),
            )
        ]
        return steps.by_scores(played.speaking, played.listening, (thresholds[0], thresholds[1]))

    def agreement(self, how: str, vectors: np.ndarray) -> tuple[np.ndarray, int]:
        """Share of dialogues to choose on whose listening lies further along than their speaking, [layer]; how many."""
        positive, negative = steps.poles(self._alone[CHOOSE].states, *self.kinds(how, CHOOSE))
        if not len(positive):
            raise UserError(f"{how}: no dialogue to choose on has steps of both kinds; change the thresholds")
        return agreement(vectors, positive, negative), len(positive)

    def measure(self, arm: str) -> Iterator[Setting]:
        """All that is measured of an arm; one that is turned round comes after the one whose settings it takes.

        Raises
        ------
        UserError
            If a direction points the wrong way in dialogues that it was not built of.
        """
        alone, interrupted = self._of_side[REPORT]
        if arm == UNSTEERED:
            yield CHOOSE, "", 0.0, self._measured(CHOOSE, self._play(self._of_side[CHOOSE][1]))
            yield REPORT, "", 0.0, self._measured(REPORT, self._play(interrupted))
            return
        if arm == UNINTERRUPTED:
            yield REPORT, "", 0.0, measure(alone, self._alone[REPORT], self._silence, None, self.settings)
            return
        vectors, about = self.directions[arm], []
        if arm in self.settings.steps:
            agree, n_dialogues = self.agreement(arm, vectors[0])
            for block in self._blocks:
                check_sign(f"direction by {arm}, block {block}", float(agree[block]), n_dialogues)
        if arm == REVERSED:
            # A window that is over before the model falls silent by itself cannot lengthen its lag.
            block, strength, _ = self._chosen[self.settings.steps[0]]
            window = self.settings.windows[-1]
        else:
            yield from self._tuned(arm, vectors)
            block, strength, window = self._chosen[arm]
        if arm in self.settings.steps:
            about = [Row("agreement", "", "", float(agree[block]))]
        _log.info("%s: block %d, strength %g, %d steps", arm, block, strength, window)
        about += [Row("chosen", "", "", strength), Row("window", "", "", window)]
        yield CHOOSE, str([block]), strength, about
        relative = float(norms(vectors[0])[block] / self._lengths[block])
        for each in self.settings.strengths:
            steering = steering_of(block, each, window)
            found = self._steered(REPORT, vectors, steering)
            yield REPORT, str([block]), each, [*found, Row("relative_length", "", "", each * relative)]

    def _tuned(self, arm: str, vectors: np.ndarray) -> Iterator[Setting]:
        """Every setting on the dialogues to choose on; what is chosen has the highest margin within the limit."""
        tried: dict[tuple[int, float, int], tuple[float, float]] = {}
        for block, strength, window in itertools.product(self._blocks, self.settings.strengths, self.settings.windows):
            steering = steering_of(block, strength, window)
            rows = self._steered(CHOOSE, vectors, steering)
            margin, moved = (
                float(np.mean([row.value for row in rows if row.measure == key])) for key in ("margin", "divergence")
            )
            tried[block, strength, window] = margin, moved
            # The columns know no window.
            yield CHOOSE, str([block]), strength, [dataclasses.replace(row, text=f"{window} steps") for row in rows]
        chosen = self._chosen[arm] = best_within(tried, self.settings.limit)
        if tried[chosen][1] > self.settings.limit:
            _log.warning("%s: no setting keeps the limit; the mildest is taken", arm)

    def _measured(self, side: str, played: Played) -> list[Row]:
        return measure(self._of_side[side][1], played, self._silence, self._alone[side], self.settings)

    def _steered(self, side: str, vectors: np.ndarray, steering: Steering) -> list[Row]:
        """Interruptions and false triggers under steering, mean over directions, [draw, layer, width]."""
        drawn = [
            [*self.interrupted(side, each, steering), *self.falsely_triggered(side, each, steering)] for each in vectors
        ]
        return [
            dataclasses.replace(same[0], value=float(np.mean([row.value for row in same])))
            for same in zip(*drawn, strict=True)
        ]

    def interrupted(self, side: str, vectors: np.ndarray, steering: Steering) -> list[Row]:
        """What becomes of questions that interrupt, of a direction [layer, width] that is added from their onset on."""
        dialogues = self._of_side[side][1]
        onsets = [each.start for each in dialogues]
        return self._measured(side, self._play(dialogues, Steered(vectors, steering, onsets)))

    def falsely_triggered(self, side: str, vectors: np.ndarray, steering: Steering) -> list[Row]:
        """What steering does at a random step of a normal answer.

        divergence: KL(un-steered ‖ steered) of what is said, mean over the steps that follow, of the same past;
        guardrail: whether the answer goes on word for word.
        """
        dialogues, before = self._of_side[side][0], self._alone[side]
        onsets = [
            each.end
            + int(
                generator("false trigger", self.settings.seed, each.pair.pair_id).integers(
                    *self.settings.after, endpoint=True
                )
            )
            for each in dialogues
        ]
        steered = Steered(vectors, steering, onsets)
        after = self._play(dialogues, steered, before.own)
        own = sorted(self.streams.vocabulary.model.values())
        moved = divergence(before.likely[..., own], after.likely[..., own])
        values = [max(moved[row, onset : onset + _MOVED].mean(), 0.0) for row, onset in enumerate(onsets)]
        same = (self._play(dialogues, steered).own == before.own).all(axis=1)
        return [*_rows("divergence", dialogues, values, ""), *_rows("guardrail", dialogues, same, "")]


def steering_of(block: int, strength: float, window: int) -> Steering:
    """α(1 − (t − t_int)/ΔT) at one block, in ΔT steps from the onset on, lengths left to change."""
    return Steering(
        scale=strength,
        layers=[block],
        positions="none",
        decoding=Decoding(first=window, decay="linear"),
        preserve_norm=False,
    )
