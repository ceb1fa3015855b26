"""Train the tiny model that listens and speaks at once (docs/studies/interruption.md), and measure its lag."""

import argparse
from pathlib import Path

import numpy as np
import torch

from wheretolisten import log
from wheretolisten.config.interruption import INTERRUPTION, Interruption
from wheretolisten.config.models import Model
from wheretolisten.effects.interruption import dialogues_of, measure, play
from wheretolisten.effects.pairs import read_pairs
from wheretolisten.engine.streams import SILENCE, Streams
from wheretolisten.files import write_text
from wheretolisten.models import registry
from wheretolisten.tiny import duplex

_CARD = """\
# Tiny duplex

A language model of two streams of words that listens and speaks at once: a Llama of {parameters:,} parameters,
{settings.n_layers} blocks of width {settings.hidden_size}, trained from nothing by `train_tiny_duplex` of the workflow
Where to Listen to go on speaking for {settings.lag} steps when it is interrupted. A model organism for one study
(docs/studies/interruption.md): it knows {n_words} words and one kind of dialogue, and nothing of speech.

Input at a step is the sum of the embeddings of the user's token and of the model's own before; the head tells both
streams' next tokens, each by its own part of the vocabulary (`user:…`, `model:…`). MIT.

| greedy, in {n} dialogues | |
|---|---:|
| steps until it is silent when it is interrupted, mean (least, most) | {lag:.2f} ({least:.0f}, {most:.0f}) |
| first word of the answer right, interrupted | {interrupted:.0f} % |
| first word right, asked while it is silent | {first:.0f} % |
| whole answer right, asked while it is silent | {kept:.0f} % |

Dialogues with these words in this order are not kept out of training, which draws three words at random; that the words
are copied, and not known by heart, is what makes the answers right. Settings: `{given}`.
"""


def main(argv: list[str] | None = None) -> None:
    """Write checkpoint, tokenizer and card into the folder `output`; the words are those of the table `dialogues`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=Path, required=True, help="table of pairs whose answers hold the words")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--settings", default="{}", help="what differs from the defaults of DuplexSettings, JSON")
    args = parser.parse_args(argv)
    logger = log.start("train_tiny_duplex")
    settings = duplex.DuplexSettings.from_json(args.settings)
    pairs = read_pairs(args.dialogues, [INTERRUPTION])[INTERRUPTION]
    words = list(dict.fromkeys(word for pair in pairs for word in pair.positive.split()))
    torch.set_num_threads(1)  # sums come out the same on machines with other numbers of cores
    parameters = duplex.train(words, settings, args.output)

    streams = Streams(registry.load(Model(checkpoint=str(args.output), device="cpu", dtype="float32")))
    asked, silence = Interruption(), streams.vocabulary.model[SILENCE]
    alone, interrupted = dialogues_of(pairs, streams.vocabulary, asked)
    lens = range(settings.n_layers // 2, settings.n_layers)
    quiet = play(streams, alone, lens)
    found = {
        "alone": measure(alone, quiet, silence, None, asked),
        "interrupted": measure(interrupted, play(streams, interrupted, lens), silence, quiet, asked),
    }

    def values(kind: str, name: str) -> np.ndarray:
        return np.array([row.value for row in found[kind] if row.measure == name])

    lags = values("interrupted", "lag")
    write_text(
        args.output / "README.md",
        _CARD.format(
            settings=settings,
            parameters=parameters,
            n_words=len(words),
            n=len(pairs),
            lag=lags.mean(),
            least=lags.min(),
            most=lags.max(),
            interrupted=100 * values("interrupted", "first_word").mean(),
            first=100 * values("alone", "first_word").mean(),
            kept=100 * values("alone", "kept").mean(),
            given=duplex.described(settings),
        ),
    )
    logger.info("%d parameters, lag %.2f steps: %s", parameters, lags.mean(), args.output)


if __name__ == "__main__":
    log.run(main)
