"""Words in the place of audio: what audio-language models and the passes of studies make of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.engine.oracle import embedded
from wheretolisten import jobs
from wheretolisten.config.passes import SymbolSettings
from wheretolisten.config.probe import Steering
from wheretolisten.engine.passes import Engine
from wheretolisten.models.adapter import Symbols, silence_like
from wheretolisten.passes import Example

# The second one overlaps the third, which has several tokens.
SYMBOLS = (
    Symbols((("dog", 0, 9), ("rain", 12, 15), ("crying baby", 11, 20)), 20, 0.5, ("symbols", 3, "00000")),
    Symbols((("rooster", 1, 12),), 12, 1.5, ("symbols", 3, "00001")),
)
PROMPTS = ("Describe the audio.", "Which part of the audio has the sound of rooster?")
ROWS = [(0, 0), (1, 1), (0, 1), (1, 0)]


def asked():
    return SYMBOLS, [PROMPTS[prompt] for _, prompt in ROWS], [index for index, _ in ROWS]


@pytest.mark.parametrize("positions", [None, "all", "after_audio"])
def test_reads_as_the_oracle_reads_embeddings(pair, positions):
    adapter, oracle = pair
    vectors = np.random.default_rng(1).normal(size=(len(ROWS), adapter.n_layers, adapter.hidden_size))
    vectors, steered, naive = vectors.astype(np.float32), {}, {}
    if positions:
        steered = {"vectors": vectors, "steering": Steering(scale=0.5, positions=positions)}
        naive = {"scale": 0.5, "layers": range(adapter.n_layers), "positions": positions}
    for shared in (True, False):
        found = Engine(adapter, share_prefix=shared).read(*asked(), want_states=True, **steered)
        for row, (index, prompt) in enumerate(ROWS):
            own = {"vectors": vectors[row]} if positions else {}
            expected = oracle.read(SYMBOLS[index], PROMPTS[prompt], **naive, **own)
            n_tokens = SYMBOLS[index].n_tokens
            assert found.n_audio_tokens[row] == n_tokens
            np.testing.assert_allclose(found.attention[row, :, :n_tokens], expected.attention, rtol=1e-5, atol=1e-5)
            largest = np.abs(expected.states).max()
            np.testing.assert_allclose(found.states[row], expected.states, rtol=0, atol=1e-5 * largest)


def test_answers_as_the_oracle_answers(shipped_pair):
    adapter, oracle = shipped_pair
    answers = Engine(adapter).answer(*asked(), max_new_tokens=6)
    assert answers == [oracle.generate(SYMBOLS[index], PROMPTS[prompt], 6) for index, prompt in ROWS]


def test_embeddings_are_of_the_words_and_noise_is_as_strong_as_it_says(shipped_pair):
    adapter, oracle = shipped_pair
    for symbols in SYMBOLS:
        found = adapter.encode_symbols(symbols)
        np.testing.assert_allclose(found, embedded(oracle.model, oracle.processor.tokenizer, symbols), atol=1e-6)
    long = Symbols((("dog", 0, 300),), 600, 0.5, ("symbols", 0, "00000"))
    (word,) = {tuple(row) for row in adapter.encode_symbols(replace(long, noise=0.0))[:300].tolist()}
    noise = adapter.encode_symbols(long) - torch.cat([torch.tensor(word).expand(300, -1), torch.zeros(300, len(word))])
    level = float(torch.tensor(word).square().mean().sqrt())
    for part in (noise[:300], noise[300:]):
        assert float(part.square().mean().sqrt()) == pytest.approx(0.5 * level, rel=0.02)
        assert float(part.mean()) == pytest.approx(0, abs=0.02 * level)
    # Twice the noise is the same noise, twice as strong.
    doubled = adapter.encode_symbols(replace(long, noise=1.0)) - adapter.encode_symbols(long)
    np.testing.assert_allclose(doubled, noise, atol=1e-5)


def test_noise_depends_on_the_stream_and_on_nothing_beside(shipped_pair):
    adapter, _ = shipped_pair
    engine = Engine(adapter)
    alone, (first, second) = engine.hear(SYMBOLS[:1]).audio[0], engine.hear(SYMBOLS).audio
    assert torch.equal(alone, first)
    other = adapter.encode_symbols(replace(SYMBOLS[1], stream=("symbols", 3, "00002")))
    assert not torch.equal(other, second)
    assert not adapter.encode_symbols(silence_like(SYMBOLS[0])).any()
    assert silence_like(SYMBOLS[0]).n_tokens == 20


def test_a_sample_becomes_words_at_the_rate_of_its_tokens():
    times = {"a": (0.0, 2.04), "b": (2.1, 4.0)}
    events = [
        {"label": label, "onset": onset, "offset": offset, "sample_seconds": 4.0}
        for label, (onset, offset) in times.items()
    ]
    settings = SymbolSettings(tokens_per_second=6.25, noise=2.0, seed=5)
    found = jobs.symbols_of(Example("00007", "", events=events), settings)
    # 2.04 s are 12.75 tokens, 2.1 s are 13.125.
    assert found == Symbols((("a", 0, 13), ("b", 13, 25)), 25, 2.0, ("symbols", 5, "00007"))
