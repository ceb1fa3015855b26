"""Sweeps: from attention at every point to windows, and from windows to overlap by value."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten.config.layers import select_layers
from wheretolisten.config.positions import is_absent, others_of
from wheretolisten.config.probe import Localization, Probe, row_of
from wheretolisten.config.studies import AVERAGED, HEADS, Variation, check_heads, points
from wheretolisten.errors import UserError
from wheretolisten.localization.references import NO_REFERENCE, absent_reference
from wheretolisten.localization.table import no_vector
from wheretolisten.localization.windows import Window, find_window, without_vector
from wheretolisten.statistics.intervals import Dependence, estimate
from wheretolisten.statistics.overlap import window_overlap
from wheretolisten.statistics.scoring import score_window
from wheretolisten.statistics.summary import OVERALL, rows_of
from wheretolisten.store import Passes

COLUMNS = (
    "model",
    "sweep",
    "value",
    "position",
    "overlap_pct",
    "ci_low",
    "ci_high",
    "chance",
    "n_queries",
    "n_without_vector",
)
"""Columns of the table of a sweep; overlap, interval and chance in percent, of the queries that have a vector."""

Row = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SweptAttention:
    """Attention at the points of a sweep, `points` by name.

    `base` [sample, point, layer, audio_token], with one point where all share it, and `steered`, by event and absent
    sound and in the same shape, are attention masses, NaN beyond a sample's `n_audio_tokens`; `tokens_per_second` in
    1/s. Points are values of the varied key, or heads.
    """

    sample_id: np.ndarray
    n_audio_tokens: np.ndarray
    tokens_per_second: float
    points: tuple[str, ...]
    base: np.ndarray
    steered: dict[str, np.ndarray]


def swept_attention(swept: Passes, unsteered: Passes | None) -> SweptAttention:
    """From the passes of a sweep, and those of the run where the sweep has no base passes of its own."""
    events = dict.fromkeys(event for _, event in swept.passes if event)
    points = tuple(dict.fromkeys(name for name, event in swept.passes if event))
    based = [name for name, event in swept.passes if not event]

    def of(names: Sequence[str], event: str) -> np.ndarray:
        if swept.values.ndim == 5:
            return np.moveaxis(swept.of(names[0], event), 2, 1)  # the heads of the only pass are the points
        return np.stack([swept.of(name, event) for name in names], axis=1)

    if based:
        base = of(based, "")
    else:
        row_of = {sample_id: row for row, sample_id in enumerate(unsteered.sample_id)}
        base = unsteered.of("base")[[row_of[sample_id] for sample_id in swept.sample_id], None]
    steered = {event: of(points, event) for event in events}
    return SweptAttention(swept.sample_id, swept.n_audio_tokens, swept.tokens_per_second, points, base, steered)


def attention_of_study(base: Passes, steered: Mapping[str, Passes], passes: str) -> SweptAttention:
    """Attention of a sweep's study, as the single point of the sweep.

    `steered` is by event, `passes` the name of those of the method.
    """
    of_method = {
        event: found.of(passes, event)[:, None]
        for found in (base, *steered.values())
        for name, event in found.passes
        if name == passes
    }
    return SweptAttention(
        base.sample_id, base.n_audio_tokens, base.tokens_per_second, (passes,), base.of("base")[:, None], of_method
    )


def score_sweep(
    attention: SweptAttention,
    events: pd.DataFrame,
    variation: Variation,
    probe: Probe,
    model: str,
    study: str,
    missing: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> list[Row]:
    """One row per query and value: that of `scoring.score_window` and the value.

    Parameters
    ----------
    attention
        Of the sweep's passes; where the sweep has none, that of the run as a single point.
    events
        Of the samples of `attention` (see `examples.shards.COLUMNS`).
    probe
        The run's probe, of which the localization is read.
    missing
        Queries that the method has no vector for, as `directions.sources.missing_vectors` finds them.

    Raises
    ------
    UserError
        If there are fewer heads than a value asks for, or no samples to choose them on.
    """
    if variation.vary == HEADS:
        return _score_heads(attention, events, variation, probe, model, study, missing)
    if variation.passes == "none":
        swept = [(point.value, 0, point.probe) for point in points(variation, probe, attention.base.shape[2])]
    else:
        swept = [(value, number, probe) for number, value in enumerate(attention.points)]
    rows = []
    for reading in _readings(attention, events):
        reason = missing.get((reading.event["sample_id"], reading.event["position"]))
        for value, number, probe_there in swept:
            settings = probe_there.localization
            reference = None if reason else reading.reference(settings)
            window = (
                without_vector(reason or NO_REFERENCE, attention.tokens_per_second)
                if reference is None
                else find_window(
                    reference[min(number, len(reference) - 1)],
                    reading.steered[number],
                    reading.event["duration"],
                    attention.tokens_per_second,
                    reading.n_audio_tokens,
                    settings,
                )
            )
            event = reading.event
            row = score_window(event, window, row_of(variation.method), model, study)
            rows.append({"value": value} | row)
    return rows


def best_heads(overlap: np.ndarray) -> np.ndarray:
    """Heads by the mean overlap of the windows that each finds alone, best first.

    Parameters
    ----------
    overlap
        [head, query].

    Returns
    -------
    np.ndarray
        Indices, [head]; equals keep their order.
    """
    return np.argsort(-overlap.mean(axis=1), kind="stable")


def halves(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events to choose on and events to report on: those of the first half of the samples, and of the second.

    Events of the first half that were cut from a recording of the second are left out, so that nothing is chosen on
    what it is reported on.

    Raises
    ------
    UserError
        If one of the halves is empty.
    """
    samples = events["sample_id"].unique()
    reported = events[events["sample_id"].isin(samples[len(samples) // 2 :])]
    chosen_on = events[events["sample_id"].isin(samples[: len(samples) // 2])]
    chosen_on = chosen_on[~chosen_on["source"].isin(reported["source"])]
    if chosen_on.empty:
        raise UserError(
            f"heads are chosen on the first half of the samples, and reported on the second: {len(samples)} samples "
            "leave no event to choose on whose recording is not reported on; raise first, or add clips"
        )
    return chosen_on, reported


def _score_heads(
    attention: SweptAttention,
    events: pd.DataFrame,
    variation: Variation,
    probe: Probe,
    model: str,
    study: str,
    missing: Mapping[tuple[str, str], str],
) -> list[Row]:
    """The points of `attention` are heads here; those of the scored blocks are candidates, and weigh alike."""
    layers = select_layers(probe.localization.layers, attention.base.shape[2])
    heads = [(layer, head) for layer in layers for head in range(attention.base.shape[1])]
    check_heads(variation, len(heads))
    as_blocks = probe.localization.model_copy(update={"layers": "all", "layer_weights": "uniform"})

    def window_of(reading: _Reading, chosen: Sequence[tuple[int, int]] | None) -> Window:
        event, steered, base = reading.event, reading.steered, reading.reference(probe.localization)
        reason = missing.get((event["sample_id"], event["position"]))
        if reason or base is None:
            return without_vector(reason or NO_REFERENCE, attention.tokens_per_second)
        if chosen is None:
            base, steered = base.mean(axis=0), steered.mean(axis=0)
        else:
            layer, head = np.transpose(chosen)
            base, steered = base[head, layer], steered[head, layer]
        settings = probe.localization if chosen is None else as_blocks
        times = (event["duration"], attention.tokens_per_second, reading.n_audio_tokens)
        return find_window(base, steered, *times, settings)

    chosen_on, reported = halves(events)
    readings = [
        reading
        for reading in _readings(attention, chosen_on)
        if (reading.event["sample_id"], reading.event["position"]) not in missing
    ]
    if not readings:
        raise UserError(
            f"method {variation.method!r} has no vector for any query that heads could be chosen on "
            f"({next(iter(missing.values()))}); choose another method, or raise the sweep's key first"
        )
    alone = [
        [
            window_overlap(window_of(reading, [head]), reading.event["onset"], reading.event["offset"])
            for reading in readings
        ]
        for head in heads
    ]
    order = best_heads(np.array(alone))
    best = ", ".join(f"{heads[n][0]}.{heads[n][1]} ({100 * np.mean(alone[n]):.1f} %)" for n in order[:10])
    _log.info("%s: best of %d heads, as block.head, on %d queries: %s", model, len(heads), len(readings), best)
    ranked = [heads[n] for n in order]
    choices = {AVERAGED: None} | {
        str(value): ranked if value == "all" else ranked[:value] for value in variation.values
    }
    return [
        {"value": value}
        | score_window(reading.event, window_of(reading, chosen), row_of(variation.method), model, study)
        for reading in _readings(attention, reported)
        for value, chosen in choices.items()
    ]


@dataclass(frozen=True, eq=False)
class _Reading:
    """What one query is scored from: its event, and attention [point, layer, audio_token].

    `absent` and `others` hold the passes about absent sounds, and about the sample's other events.
    """

    event: Row
    base: np.ndarray
    steered: np.ndarray
    absent: list[np.ndarray]
    others: list[np.ndarray]
    n_audio_tokens: int

    def reference(self, settings: Localization) -> np.ndarray | None:
        """What the steered pass is held against, [point, layer, audio_token]; None where there is nothing."""
        if settings.reference == "base":
            return self.base
        return absent_reference(self.absent, self.others, self.n_audio_tokens, settings)


def _readings(attention: SweptAttention, events: pd.DataFrame) -> list[_Reading]:
    """What is read of every event; they may be some of those that the attention is about."""
    row_of = {sample_id: row for row, sample_id in enumerate(attention.sample_id)}
    absent = [sound for sound in attention.steered if is_absent(sound)]
    readings = []
    for event in events.to_dict("records"):
        sample, others = row_of[event["sample_id"]], others_of(event["position"], attention.steered)
        steered, *further = (attention.steered[key][sample] for key in (event["position"], *absent, *others))
        n_absent, n_tokens = len(absent), int(attention.n_audio_tokens[sample])
        base = attention.base[sample]
        readings.append(_Reading(event, base, steered, further[:n_absent], further[n_absent:], n_tokens))
    return readings


def summarize_sweep(queries: pd.DataFrame) -> pd.DataFrame:
    """Mean overlap with its 95 % interval by model, value and position, in the order of the rows.

    Parameters
    ----------
    queries
        Columns model, sweep, value, position, sample_id, source, overlap and chance; one row per query and value.

    Returns
    -------
    pandas.DataFrame
        See `COLUMNS`; position `overall` is all queries together.
    """
    rows = []
    for (model, sweep, value), group in queries.groupby(["model", "sweep", "value"], sort=False):
        for position in rows_of(group["position"]):
            here = group if position == OVERALL else group[group["position"] == position]
            dependence = Dependence(here["sample_id"].to_numpy(), here["source"].to_numpy())
            found = estimate(here["overlap"].to_numpy()[None], dependence)
            (low,), (high,) = found.share_interval()
            scored = ~no_vector(here)
            shares = (100 * share for share in (found.mean[0], low, high, here.loc[scored, "chance"].mean()))
            rows.append((model, sweep, value, position, *shares, scored.sum(), (~scored).sum()))
    return pd.DataFrame(rows, columns=list(COLUMNS))
