"""What states an arm is built of, and the direction and support that they make."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wheretolisten.clips.randomness import generator
from wheretolisten.config.effects import Arm, Axis, First, Tokens
from wheretolisten.directions import builders, supports
from wheretolisten.directions.features import read_features
from wheretolisten.directions.vectors import norms
from wheretolisten.effects.pairs import Pair
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError


@dataclass(frozen=True, eq=False)
class Poles:
    """States at the two poles of pairs, float32 [pair, layer, width]; `fired`: shares of tokens at which they are > 0.

    `tokens` are those of all answers of the positive pole, [token, layer, width].
    """

    positive: np.ndarray
    negative: np.ndarray
    fired_positive: np.ndarray
    fired_negative: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True, eq=False)
class Direction:
    """What is added: a vector for each block, [layer, width], and where it may change states; None: everywhere."""

    vectors: np.ndarray
    support: np.ndarray | None


def behind(instruction: str | None, question: str) -> str:
    """A question behind an instruction, or as it is."""
    return question if instruction is None else f"{instruction} {question}"


def collect(engine: Engine, pairs: Sequence[Pair], axis: Axis, arm: Arm) -> Poles:
    """States of the un-steered model at both poles of pairs."""
    reduced = []
    for instructions, side in ((axis.positive, "positive"), (axis.negative, "negative")):
        # Instructions take turns.
        given = [instructions[pair.index % len(instructions)] if arm.instructions else None for pair in pairs]
        prompts = [behind(instruction, pair.question) for instruction, pair in zip(given, pairs, strict=True)]
        nothing = [None] * len(pairs)
        if arm.tokens == "prompt_last":
            states = engine.read(nothing, prompts, want_states=True, site=arm.site).states[:, :, None]
        else:
            states = engine.states_of(nothing, prompts, [getattr(pair, side) for pair in pairs], site=arm.site)
        read = np.stack([_at(arm.tokens, each) for each in states])
        fired = np.stack([(each > 0).mean(axis=1) for each in states]) if arm.support or arm.build == "fired" else read
        reduced.append((read, fired, states))
    (positive, fired_positive, states), (negative, fired_negative, _) = reduced
    tokens = np.zeros((0, *positive.shape[1:]), np.float32)
    if arm.build == "fired":
        tokens = np.concatenate([each.transpose(1, 0, 2) for each in states])
    return Poles(positive, negative, fired_positive, fired_negative, tokens)


def _at(tokens: Tokens, states: np.ndarray) -> np.ndarray:
    """[layer, width] from [layer, token, width]."""
    if tokens in ("last", "prompt_last"):
        return states[:, -1]
    return (states[:, : tokens.first] if isinstance(tokens, First) else states).mean(axis=1)


def build(poles: Poles, arm: Arm, name: str, seed: int, n_heads: int = 1) -> Direction:
    """The direction and the support of an arm; what is drawn depends on seed and name alone."""
    if arm.features is not None:
        return _of_features(poles, arm, name, seed)
    positive, negative = poles.positive, poles.negative
    if arm.control == "shuffled":
        exchanged = generator("shuffled", seed).permutation(len(positive)) < len(positive) // 2
        whole = build(poles, arm.model_copy(update={"control": None}), name, seed, n_heads)
        exchanged = exchanged[:, None, None]
        swapped = np.where(exchanged, negative, positive), np.where(exchanged, positive, negative)
        vectors = builders.BUILDERS[arm.build](*swapped, arm.rank)
        return Direction(_as_long(vectors, whole), whole.support)
    support = None
    if arm.support is not None:
        if arm.support.by == "random":
            support = supports.draw(positive.shape[1:], arm.support, generator("support", seed, name))
        elif arm.support.by == "heads":
            heads = supports.choose(supports.of_heads(positive, negative, n_heads), arm.support)
            support = np.repeat(heads, positive.shape[2] // n_heads, axis=1)
        else:
            both = (positive, negative)
            if arm.support.by == "firing":
                both = (poles.fired_positive, poles.fired_negative)
            support = supports.choose(supports.SCORES[arm.support.by](*both), arm.support)
    if arm.build == "fired":
        vectors = builders.fired(poles.tokens, supports.firing(poles.fired_positive, poles.fired_negative))
    else:
        vectors = builders.BUILDERS[arm.build](positive, negative, arm.rank)
    vectors = np.asarray(vectors, np.float64) if support is None else np.where(support, vectors, 0.0)
    found = Direction(_lengthened(vectors, arm, positive, negative), support)
    if arm.control == "random":
        drawn = generator("direction", seed, name).standard_normal(vectors.shape)
        return Direction(_as_long(drawn if support is None else np.where(support, drawn, 0.0), found), support)
    return found


def _of_features(poles: Poles, arm: Arm, name: str, seed: int) -> Direction:
    """The direction of one block, built among the features of an autoencoder."""
    (layer,) = arm.layers
    features = read_features(arm.features)
    if features.encoder.shape[0] != poles.positive.shape[2]:
        raise UserError(
            f"{arm.features}: its states are {features.encoder.shape[0]} wide, those of the model "
            f"{poles.positive.shape[2]}; give an autoencoder of this model, site and block"
        )
    encoded = [features.encode(states[:, [layer]]) for states in (poles.positive, poles.negative)]
    among = Poles(*encoded, *((each > 0).astype(float) for each in encoded), encoded[0][:0])
    # Lengths are those of states.
    found = build(among, arm.model_copy(update={"features": None, "length": "none"}), name, seed)
    vectors = np.zeros(poles.positive.shape[1:])
    vectors[layer] = features.step(found.vectors[0])
    return Direction(_lengthened(vectors, arm, poles.positive, poles.negative), None)


def _as_long(vectors: np.ndarray, other: Direction) -> np.ndarray:
    """Vectors brought to the lengths of another direction's, within its support."""
    inside = vectors if other.support is None else np.where(other.support, vectors, 0.0)
    lengths = norms(inside)
    factor = np.divide(norms(other.vectors), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return (inside * factor[:, None]).astype(np.float32)


def _lengthened(vectors: np.ndarray, arm: Arm, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    lengths = norms(vectors)
    unit = np.divide(vectors, lengths[:, None], out=np.zeros_like(vectors), where=lengths[:, None] > 0)
    if arm.length == "unit":
        vectors = unit
    elif arm.length == "positive":
        vectors = unit * norms(positive.mean(axis=0))[:, None]
    elif arm.length == "deviation":
        along = np.einsum("plw,lw->pl", np.concatenate([positive, negative]), unit)
        vectors = unit * along.std(axis=0)[:, None]
    return vectors.astype(np.float32)
