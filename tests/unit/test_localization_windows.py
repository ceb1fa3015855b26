"""Choosing a window from attention."""

import numpy as np
import pytest
from scipy.special import rel_entr

from wheretolisten.config.probe import Localization
from wheretolisten.localization.windows import (
    cumulative_shares,
    find_window,
    find_window_of_any_width,
    find_windows,
    layer_weights,
    window_width,
)

RATE = 25.0
N_LAYERS = 8
EVENTS = [(0.0, 5.0), (6.0, 11.0), (12.0, 17.0)]
N_TOKENS = 425


def base_attention(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (N_LAYERS, N_TOKENS)).astype(np.float32)


def bumped(base: np.ndarray, onset: float, offset: float, gain: float = 2.0) -> np.ndarray:
    other = base.copy()
    other[:, round(onset * RATE) : round(offset * RATE)] *= gain
    return other


@pytest.mark.parametrize("event", range(3))
@pytest.mark.parametrize("kind", ["linear", "uniform"])
@pytest.mark.parametrize("layers", ["second_half", "all", [1, 6]])
def test_planted_bump_is_found_within_one_token(event, kind, layers):
    onset, offset = EVENTS[event]
    base = base_attention()
    settings = Localization(layers=layers, layer_weights=kind)
    window = find_window(base, bumped(base, onset, offset), 5.0, RATE, N_TOKENS, settings)
    assert not window.tied
    assert not window.failure
    assert abs(window.start_seconds - onset) <= 1 / RATE
    assert window.end_seconds - window.start_seconds == pytest.approx(5.0)


def test_score_equals_the_formula_written_out():
    base, other = base_attention(1), base_attention(2)
    settings = Localization(epsilon=0.01)
    window = find_window(base, other, 1.0, RATE, N_TOKENS, settings)
    width, expected = 25, []
    for start in range(N_TOKENS - width + 1):
        total = 0.0
        for layer in range(4, 8):
            shares = [
                attention[layer, start : start + width].astype(float).sum() / attention[layer].astype(float).sum()
                for attention in (base, other)
            ]
            total += (layer - 4 + 1) / 10 * shares[1] / (shares[0] + 0.01)
        expected.append(total)
    np.testing.assert_allclose(window.score, expected, rtol=1e-10)
    assert window.start_seconds == int(np.argmax(expected)) / RATE


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_constant_attention_is_a_tie_of_all_windows(factor):
    base = np.full((N_LAYERS, N_TOKENS), 0.01, dtype=np.float32)
    window = find_window(base, base * factor, 5.0, RATE, N_TOKENS, Localization())
    assert window.tied
    assert window.tied_starts.tolist() == list(range(N_TOKENS - 125 + 1))
    assert np.isnan(window.start_seconds)
    assert np.isnan(window.end_seconds)


def test_uniform_scaling_of_attention_is_a_tie():
    base = base_attention()
    window = find_window(base, base * 0.5, 5.0, RATE, N_TOKENS, Localization())
    assert window.tied


def test_two_equal_bumps_tie_and_neither_wins():
    base = np.ones((N_LAYERS, N_TOKENS))
    other = bumped(bumped(base, *EVENTS[0]), *EVENTS[2])
    window = find_window(base, other, 5.0, RATE, N_TOKENS, Localization())
    assert window.tied_starts.tolist() == [0, 300]


@pytest.mark.parametrize("filler", [np.nan, 1e9])
def test_padding_is_never_read_nor_covered(filler):
    base = base_attention()
    n_real = 300
    # Attention grows towards the end, so that the last window that fits is the best one.
    other = base * np.linspace(1, 3, N_TOKENS)
    clean = find_window(base[:, :n_real], other[:, :n_real], 5.0, RATE, n_real, Localization())
    for attention in (base, other):
        attention[:, n_real:] = filler
    window = find_window(base, other, 5.0, RATE, n_real, Localization())
    np.testing.assert_array_equal(window.score, clean.score)
    assert window.score.size == n_real - 125 + 1
    assert window.end_seconds <= n_real / RATE


def test_best_window_may_be_the_last_one_that_fits():
    base = np.ones((N_LAYERS, 100))
    other = base.copy()
    other[:, -10:] = 5
    window = find_window(base, other, 0.4, RATE, 100, Localization())
    assert window.end_seconds == pytest.approx(100 / RATE)


def test_only_the_scored_blocks_count():
    base = base_attention()
    other = base.copy()
    other[:4] = bumped(base, *EVENTS[2], gain=50)[:4]
    other[4:] = bumped(base, *EVENTS[0])[4:]
    assert find_window(base, other, 5.0, RATE, N_TOKENS, Localization()).start_seconds == 0.0


def test_one_window_that_fills_the_audio_is_no_tie():
    base = base_attention()
    window = find_window(base, base, N_TOKENS / RATE, RATE, N_TOKENS, Localization())
    assert not window.tied
    assert window.start_seconds == 0.0


@pytest.mark.parametrize(
    ("duration", "damage", "reason"),
    [
        (0.01, None, "shorter"),
        (17.5, None, "longer"),
        (5.0, np.nan, "finite"),
        (5.0, np.inf, "finite"),
        (5.0, 0.0, "no attention"),
    ],
)
def test_failures_have_a_reason_and_no_window(duration, damage, reason):
    base, other = base_attention(), base_attention(3)
    if damage is not None:
        other[6] = damage
    window = find_window(base, other, duration, RATE, N_TOKENS, Localization())
    assert reason in window.failure
    assert window.tied_starts.size == 0
    assert not window.tied
    assert np.isnan(window.start_seconds)


def test_damage_in_a_block_that_is_not_scored_does_not_matter():
    base, other = base_attention(), base_attention(3)
    other[0] = np.nan
    assert not find_window(base, other, 5.0, RATE, N_TOKENS, Localization()).failure


def test_attention_of_different_models_is_refused():
    with pytest.raises(ValueError, match="shapes"):
        find_window(np.ones((4, 50)), np.ones((6, 50)), 1.0, RATE, 50, Localization())


def test_files_may_be_padded_to_different_lengths():
    base = base_attention()
    padded = np.pad(bumped(base, *EVENTS[1]), ((0, 0), (0, 7)), constant_values=np.nan)
    assert find_window(base, padded, 5.0, RATE, N_TOKENS, Localization()).start_seconds == pytest.approx(6.0)


def test_layer_weights_sum_to_one_and_rise():
    np.testing.assert_allclose(layer_weights(4, "linear"), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(layer_weights(4, "uniform"), 0.25)


@pytest.mark.parametrize(("duration", "width"), [(5.0, 125), (5.03, 126), (0.02, 0), (0.021, 1), (0.1, 2), (0.14, 4)])
def test_width_is_rounded_and_exact_halves_go_to_the_even_number(duration, width):
    assert window_width(duration, RATE) == width


def test_shares_of_windows_do_not_lose_precision_on_float32():
    attention = np.full((1, 20_000), 0.1, dtype=np.float32)
    sums = cumulative_shares(attention)
    assert (sums[0, 0], sums.shape) == (0, (1, 20_001))
    np.testing.assert_allclose(sums[:, 100:] - sums[:, :-100], 100 / 20_000, rtol=1e-9)


@pytest.mark.parametrize(("onset", "offset"), [(0.0, 5.0), (6.0, 8.0), (3.0, 12.0), (16.0, 17.0)])
@pytest.mark.parametrize("gain", [1.3, 4.0])
def test_planted_bump_is_found_with_its_duration(onset, offset, gain):
    base = base_attention()
    window = find_window_of_any_width(base, bumped(base, onset, offset, gain), RATE, N_TOKENS, Localization())
    assert not window.tied
    assert window.start_seconds == pytest.approx(onset, abs=1 / RATE)
    assert window.end_seconds == pytest.approx(offset, abs=1 / RATE)


def test_a_stretch_that_held_most_attention_before_wins_by_what_it_gains_only():
    base = base_attention()
    base[:, :100] *= 20
    window = find_window_of_any_width(base, bumped(base, 6.0, 11.0), RATE, N_TOKENS, Localization())
    assert (window.start_seconds, window.end_seconds) == pytest.approx((6.0, 11.0), abs=1 / RATE)


def test_score_of_any_width_equals_the_formula_written_out():
    base, other = base_attention(1), base_attention(2)
    settings = Localization(unknown_durations=[1.0, 3.0])
    best = (-np.inf, None)
    for width in (25, 75):
        for start in range(N_TOKENS - width + 1):
            score = 0.0
            for layer in range(4, 8):
                p, q = (
                    attention[layer, start : start + width].astype(float).sum() / attention[layer].astype(float).sum()
                    for attention in (other, base)
                )
                divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
                score += (layer - 4 + 1) / 10 * np.sign(p - q) * divergence
            best = max(best, (score, (start / RATE, (start + width) / RATE)))
    window = find_window_of_any_width(base, other, RATE, N_TOKENS, settings)
    assert (window.start_seconds, window.end_seconds) == best[1]


@pytest.mark.parametrize("factor", [1.0, 1 / 3])
def test_attention_that_does_not_change_ties_all_windows_of_all_widths(factor):
    base = base_attention()
    settings = Localization(unknown_durations=[1.0, 2.0, 17.0, 30.0])
    window = find_window_of_any_width(base, base * factor, RATE, N_TOKENS, settings)
    assert window.tied
    assert window.tied_starts.size == (N_TOKENS - 24) + (N_TOKENS - 49) + 1
    assert sorted(set(window.width)) == [25, 50, 425]
    starts, ends = window.tied_seconds
    assert ends.max() == N_TOKENS / RATE
    np.testing.assert_allclose(sorted(set((ends - starts).round(6))), [1, 2, 17])


def test_padding_is_not_read_where_the_duration_is_unknown():
    base = base_attention()
    other = bumped(base, *EVENTS[1])
    clean = find_window_of_any_width(base[:, :300], other[:, :300], RATE, 300, Localization())
    base[:, 300:], other[:, 300:] = np.nan, 1e9
    window = find_window_of_any_width(base, other, RATE, 300, Localization())
    assert (window.start_seconds, window.end_seconds) == (clean.start_seconds, clean.end_seconds)


@pytest.mark.parametrize(
    ("durations", "damage", "reason"),
    [([18.0, 30.0], None, "fits"), ([0.01], None, "fits"), ([5.0], np.nan, "finite"), ([5.0], 0.0, "no attention")],
)
def test_failures_without_a_duration_have_a_reason_and_no_window(durations, damage, reason):
    base, other = base_attention(), base_attention(3)
    if damage is not None:
        other[6] = damage
    window = find_window_of_any_width(base, other, RATE, N_TOKENS, Localization(unknown_durations=durations))
    assert reason in window.failure
    assert window.tied_seconds[0].size == 0
    assert np.isnan(window.end_seconds)


def scored_width_by_width(base, other, settings):
    """Windows of any width as they were scored before passes were summed up once: each width by itself."""
    n_layers = len(base) // 2
    weights, scores, starts, widths = layer_weights(n_layers, settings.layer_weights), [], [], []
    for width in sorted({window_width(duration, RATE) for duration in settings.unknown_durations}):
        shares = []
        for attention in (other, base):
            attention = attention[n_layers:].astype(np.float64)
            sums = np.cumsum(attention / attention.sum(axis=-1, keepdims=True), axis=-1)
            sums = np.concatenate([np.zeros((n_layers, 1)), sums], axis=-1)
            shares.append(np.clip(sums[:, width:] - sums[:, :-width], settings.epsilon, 1 - settings.epsilon))
        p, q = shares
        p = np.where(np.abs(p - q) <= settings.tie_tolerance * q, q, p)
        scores.append(weights @ (np.sign(p - q) * (rel_entr(p, q) + rel_entr(1 - p, 1 - q))))
        starts.append(np.arange(scores[-1].size))
        widths.append(np.full(scores[-1].size, width))
    score = np.concatenate(scores)
    best = np.flatnonzero(score >= score.max() - settings.tie_tolerance * abs(score.max()))
    return np.concatenate(starts)[best], np.concatenate(widths)[best]


def test_passes_summed_up_once_find_the_windows_that_each_finds_by_itself():
    """On cached attention, 60 recordings under 6 methods each, it takes a third of the time (0.22 s, not 0.67)."""
    settings = Localization()
    for seed in range(20):
        base, noise = base_attention(seed), base_attention(seed + 100)
        damaged = base.copy()
        damaged[-1, 3] = np.nan
        others = [noise, bumped(base, *EVENTS[seed % 3], gain=1.01), base / 3, damaged]
        windows = find_windows(base, others, 5.0, RATE, N_TOKENS, settings)
        for other, (known, unknown) in zip(others, windows, strict=True):
            alone = find_window(base, other, 5.0, RATE, N_TOKENS, settings)
            of_any_width = find_window_of_any_width(base, other, RATE, N_TOKENS, settings)
            np.testing.assert_array_equal(known.score, alone.score)
            for window, expected in ((known, alone), (unknown, of_any_width)):
                assert window.failure == expected.failure
                np.testing.assert_array_equal(window.tied_starts, expected.tied_starts)
                np.testing.assert_array_equal(window.width, expected.width)
        for other, (_, unknown) in zip(others[:3], windows, strict=False):
            starts, widths = scored_width_by_width(base, other, settings)
            np.testing.assert_array_equal(unknown.tied_starts, starts)
            np.testing.assert_array_equal(unknown.width, widths)
        assert windows[3][1].failure == "attention is not finite"
    with pytest.raises(ValueError, match="attention of shapes"):
        find_windows(base, [base[:4]], 5.0, RATE, N_TOKENS, settings)
