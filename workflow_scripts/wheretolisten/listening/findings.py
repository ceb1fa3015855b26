"""What one chunk says about each sound, and what all chunks of a recording say together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wheretolisten.config.probe import Localization
from wheretolisten.listening.chunks import Chunk
from wheretolisten.listening.scan import Scan, Stretch, change, join, tempered
from wheretolisten.localization.references import reference_of
from wheretolisten.localization.windows import layer_weights

_SHORTEST_SECONDS = 0.8
"""Of a window."""
_SMOOTHED_SECONDS = 1.1
"""What changes are averaged over where occurrences are told apart."""


@dataclass(frozen=True, eq=False)
class Finding:
    """What a chunk says.

    Attributes
    ----------
    best
        Score of the best window of every word, held against all the others, [word].
    stretches
        Where the asked sounds are found: number of the sound, first token of the chunk, the one after the last, score;
        float64 [stretch, 4].
    asked, base, change
        Of every token, relative to an even share, [sound, audio_token]: share under the question for the sound; mean of
        that under the questions for the others; and Σ_l w_l log2 of their ratio.
    layers
        log2 of that ratio in each scored block, [sound, layer, audio_token].
    """

    best: np.ndarray
    stretches: np.ndarray
    asked: np.ndarray
    base: np.ndarray
    change: np.ndarray
    layers: np.ndarray


def look(
    shares: np.ndarray,
    asked: Sequence[int],
    against: Sequence[Sequence[int]],
    first: int,
    n_tokens: int,
    tokens_per_second: float,
    threshold: float | None,
) -> Finding:
    """Look for sounds in a chunk.

    Parameters
    ----------
    shares
        Of attention under the question for every word, [word, layer, audio_token], noise before and behind included.
    asked
        Numbers of the words that are asked about.
    against
        Numbers of the words that each is held against the mean of, [word].
    first, n_tokens
        First token of the chunk behind the noise, and how many it has.
    tokens_per_second
        Rate of audio tokens, in Hz.
    threshold
        Least score of a stretch; None: the highest one of a word that the sound is held against.
    """
    after = min(first + n_tokens, shares.shape[2])
    weights = layer_weights(shares.shape[1], Localization().layer_weights)
    shortest = max(1, round(_SHORTEST_SECONDS * tokens_per_second))
    smoothed = round(_SMOOTHED_SECONDS * tokens_per_second) | 1

    def references(of: np.ndarray) -> list[np.ndarray]:
        return [reference_of(of[list(others)], of.shape[2], "mean") for others in against]

    even = tempered(shares)
    even_references, references = references(even), references(shares)
    scans = [
        Scan(own, reference, weights, first, after, min(shortest, after - first))
        for own, reference in zip(even, even_references, strict=True)
    ]
    best = np.array([max(0.0, scan.best().score) for scan in scans])
    found, stretches = {"asked": [], "base": [], "change": [], "layers": []}, []
    for number, word in enumerate(asked):
        own, reference = shares[word], references[word]
        changed = change(own, reference, weights)
        least = best[list(against[word])].max() if threshold is None else threshold
        if best[word] >= least > 0:
            for stretch in scans[word].all(least):
                for part in scans[word].occurrences(stretch, smoothed):
                    stretches.append((number, part.first - first, part.after - first, part.score))
        inside = slice(first, first + n_tokens)
        found["asked"].append(_filled(weights @ own * own.shape[1], inside, 1.0))
        found["base"].append(_filled(weights @ reference * own.shape[1], inside, 1.0))
        found["change"].append(_filled(changed, inside, 0.0))
        by_layer = [change(a[None], r[None], np.ones(1)) for a, r in zip(own, reference, strict=True)]
        found["layers"].append([_filled(each, inside, 0.0) for each in by_layer])
    return Finding(best, np.array(stretches, dtype=float).reshape(-1, 4), **{k: np.array(v) for k, v in found.items()})


def nothing(n_words: int, n_sounds: int, n_layers: int, n_tokens: int) -> Finding:
    """What a chunk says in which there is no sound at all."""
    even, still = np.ones((n_sounds, n_tokens)), np.zeros((n_sounds, n_tokens))
    layers = np.zeros((n_sounds, n_layers, n_tokens))
    return Finding(np.zeros(n_words), np.zeros((0, 4)), even, even, still, layers)


def together(chunks: Sequence[Chunk], findings: Sequence[Finding]) -> Finding:
    """What all chunks of a recording say: tokens as in the whole recording, and the best score of any chunk.

    Tokens that two chunks hold have the mean of both. Stretches of two chunks that overlap are one, and one
    that gains nothing by that mean is none.
    """
    total, example = chunks[-1].after, findings[0]
    times = np.zeros(total)
    sums = {
        name: np.zeros((*getattr(example, name).shape[:-1], total)) for name in ("asked", "base", "change", "layers")
    }
    kept: dict[int, list[Stretch]] = {number: [] for number in range(len(example.asked))}
    for chunk, finding in zip(chunks, findings, strict=True):
        times[chunk.first : chunk.after] += 1
        for name, values in sums.items():
            values[..., chunk.first : chunk.after] += getattr(finding, name)
        for number, first, after, score in finding.stretches:
            kept[int(number)].append(Stretch(int(first) + chunk.first, int(after) + chunk.first, score))
    best = np.max([finding.best for finding in findings], axis=0)
    sums = {name: values / times for name, values in sums.items()}
    rows = [
        (number, each.first, each.after, each.score)
        for number, found in kept.items()
        for each in join(found, gap=0)
        if sums["change"][number, each.first : each.after].mean() > 0
    ]
    return Finding(best, np.array(rows, dtype=float).reshape(-1, 4), **sums)


def rank_p_value(best: np.ndarray, word: int, others: Sequence[int]) -> float:
    """(1 + the others that score as high) / (K + 1), as `localization.references.rank_p_value`.

    Parameters
    ----------
    best
        Score of every word, [word].
    others
        Numbers of the words that `word` is ranked among, K of them.
    """
    return float(1 + (best[list(others)] >= best[word]).sum()) / (len(others) + 1)


def _filled(values: np.ndarray, inside: slice, otherwise: float) -> np.ndarray:
    """The values of a chunk's tokens; `otherwise` where the model has one token less."""
    found = values[inside]
    return np.concatenate([found, np.full(inside.stop - inside.start - len(found), otherwise)])
