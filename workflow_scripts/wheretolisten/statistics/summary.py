"""From one row per query to one row per position: tables of overlap, of other measures and of comparisons."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.positions import order_positions
from wheretolisten.errors import UserError
from wheretolisten.localization.table import FRAME_PROBE, no_vector, order_methods
from wheretolisten.statistics.comparison import flip_signs, holm
from wheretolisten.statistics.intervals import Dependence, estimate
from wheretolisten.statistics.measures import MEASURES

OVERALL = "overall"
"""Value of the column `position` that stands for all queries together."""

COLUMNS = (
    "model",
    "study",
    "method",
    "position",
    "overlap_pct",
    "ci_low",
    "ci_high",
    "lift",
    "effect_vs_random",
    "effect_vs_random_low",
    "effect_vs_random_high",
    "d_vs_random",
    "p_vs_random",
    "effect_vs_direct",
    "effect_vs_direct_low",
    "effect_vs_direct_high",
    "d_vs_direct",
    "p_vs_direct",
    "n_queries",
    "n_clusters",
    "n_ties",
    "n_unparsed",
    "n_without_vector",
)
"""Columns of overlap.csv. Percent and percentage points; d is in standard deviations of the queries' differences; p is
corrected after Holm within a study. Of the queries that were asked, `n_queries` are averaged and
`n_without_vector` are not, because the method has no vector for them; numbers are empty where it has none for any.
overlap_by_label.csv has `label` after `method`, and no effects."""

COMPARISON_COLUMNS = (
    "model",
    "study",
    "position",
    "method",
    "other",
    "difference",
    "ci_low",
    "ci_high",
    "effect_size",
    "p",
    "p_holm",
    "n_queries",
    "n_clusters",
)
"""Columns of comparisons.csv: difference in percentage points, effect size in standard deviations of it, over the
`n_queries` for which both methods have a vector; empty where there is none."""

METRIC_COLUMNS = (
    "model",
    "study",
    "method",
    "position",
    "metric",
    "unit",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "n_missing",
    "n_without_vector",
)
"""Columns of metrics.csv and unknown_duration.csv; `n` queries have a value, `n_missing` have none, and
`n_without_vector` were not steered for want of a vector."""

PUBLISHED_COLUMNS = ("model", "study", "method", "position", "overlap_pct", "source")

REFERENCES = ("prompt_only", "prompt_matched", "steering_random_direction")
"""What every method that steers is compared with in comparisons.csv; other prompts with the first two."""


def rows_of(positions: Iterable[str]) -> list[str]:
    """What a table has rows for: the different ones among `positions` in order of time, then all queries together."""
    return [*order_positions(set(positions) - {OVERALL}), OVERALL]


_UNTESTED = ("random", FRAME_PROBE)
"""No methods: a random window, and what the ears hear."""

_OF = "\n"
"""Stands between the names of a study and of its method, which hold no line break."""


class _Study:
    """The queries of one study, and the answers of every model and method to them.

    Attributes
    ----------
    name
        Of the study.
    answers
        Pairs of model and method, in the order of the tables.
    queries
        One row per query, with the columns position and label.
    dependence
        Which queries depend on each other.
    """

    def __init__(self, name: str, rows: pd.DataFrame) -> None:
        self.name = name
        by_query = rows.set_index(["sample_id", "position"])
        self._rows = dict(iter(by_query.groupby(["model", "method"], sort=False)))
        self.queries = rows.drop_duplicates(["sample_id", "position"]).reset_index(drop=True)
        self._index = pd.MultiIndex.from_frame(self.queries[["sample_id", "position"]])
        models, methods = list(dict.fromkeys(rows["model"])), order_methods(rows["method"])
        self.answers = sorted(self._rows, key=lambda pair: (models.index(pair[0]), methods.index(pair[1])))
        self.dependence = Dependence(self.queries["sample_id"].to_numpy(), self.queries["source"].to_numpy())

    def values(self, model: str, method: str, column: str) -> np.ndarray:
        """A column of the localization table, [query]; NaN where the method has no such row, or no score in it."""
        return self._rows[model, method][column].reindex(self._index).to_numpy(dtype=float)

    def asked(self, model: str, method: str, masks: np.ndarray) -> np.ndarray:
        """How many queries of each subset, [subset, query], the method has a row for, with or without a score."""
        return np.isfinite(masks * self.values(model, method, "chance")).sum(axis=-1)

    def subsets(self, by_label: bool = False) -> tuple[list[dict[str, str]], np.ndarray]:
        """Groups of queries that are averaged, and what they hold, [subset, query]: 1 for its queries, else NaN."""
        keys, masks = [], []
        for label in sorted(set(self.queries["label"])) if by_label else [None]:
            of_label = (self.queries["label"] == label) if by_label else np.ones(len(self.queries), dtype=bool)
            for position in rows_of(self.queries["position"]):
                mask = of_label & ((self.queries["position"] == position) | (position == OVERALL))
                keys.append(({"label": label} if by_label else {}) | {"position": position})
                masks.append(np.where(mask, 1.0, np.nan))
        return keys, np.array(masks)


def _studies_of(localization: pd.DataFrame) -> Iterator[_Study]:
    """The studies of a localization table, in order of appearance."""
    for name, rows in localization.groupby("study", sort=False):
        yield _Study(str(name), rows)


def summarize_overlap(localization: pd.DataFrame, by_label: bool = False) -> pd.DataFrame:
    """Mean overlap by model, study, method and position, with its interval and, unless by label, its tests.

    `overall` is the plain mean over all queries. `lift` is the mean overlap minus the mean chance of the same queries,
    in percentage points, because chance differs by position; it is also `effect_vs_random`, the effect of which
    `p_vs_random` is the test. Failures and unparsed answers count with overlap 0, queries without a
    vector do not count.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it.
    by_label
        Whether to split by the label of the event, too.
    """
    tables = [_overlap_of(study, by_label) for study in _studies_of(localization)]
    keys = ["model", "study", "method", *(["label"] if by_label else []), "position"]
    counts = _count(localization, keys)
    table = pd.concat(tables, ignore_index=True).merge(counts, on=keys, how="left", validate="1:1")
    models = list(dict.fromkeys(localization["model"]))
    table = table.sort_values("model", key=lambda column: column.map(models.index), kind="stable", ignore_index=True)
    return table[[*keys, *(column for column in COLUMNS if column in table and column not in keys)]]


def _overlap_of(study: _Study, by_label: bool) -> pd.DataFrame:
    subsets, masks = study.subsets(by_label)
    parts = []
    for model, method in study.answers:
        overlap = study.values(model, method, "overlap")
        means = estimate(masks * overlap, study.dependence)
        lift = estimate(masks * (overlap - study.values(model, method, "chance")), study.dependence).mean
        low, high = means.share_interval()
        part = pd.DataFrame(subsets).assign(model=model, study=study.name, method=method)
        part = part.assign(overlap_pct=100 * means.mean, ci_low=100 * low, ci_high=100 * high, lift=100 * lift)
        part = part.assign(n_queries=means.n_queries, n_clusters=means.n_clusters)
        parts.append(part[study.asked(model, method, masks) > 0])
    table = pd.concat(parts, ignore_index=True)
    return table if by_label else _with_effects(table, study)


def _with_effects(table: pd.DataFrame, study: _Study) -> pd.DataFrame:
    """Overlap against the closed-form chance of each query, and against the same model's direct answers."""
    keys, differences = [], []
    for model, method in study.answers:
        overlap = study.values(model, method, "overlap")
        if method == FRAME_PROBE:
            continue  # what the ears hear is not tested, and corrects no method's test
        if method != "random":
            keys.append({"model": model, "method": method, "other": "random"})
            differences.append(overlap - study.values(model, method, "chance"))
        if method != "direct_prompt" and (model, "direct_prompt") in study.answers:
            keys.append({"model": model, "method": method, "other": "direct"})
            differences.append(overlap - study.values(model, "direct_prompt", "overlap"))
    tests = _test(study, keys, differences)
    for other in ("random", "direct"):
        names = {
            "difference": f"effect_vs_{other}",
            "ci_low": f"effect_vs_{other}_low",
            "ci_high": f"effect_vs_{other}_high",
            "effect_size": f"d_vs_{other}",
            "p_holm": f"p_vs_{other}",
        }
        part = tests[tests["other"] == other].rename(columns=names)
        on = ["model", "method", "position"]
        table = table.merge(part[[*on, *names.values()]], on=on, how="left", validate="1:1")
    return table


def _is_compared(method: str, other: str) -> bool:
    if method.startswith("steering_"):
        return method != other
    # prompt_matched is compared with prompt_only, and others of their kind with both.
    asked = [each for each in REFERENCES if each.startswith("prompt_")]
    return method.startswith("prompt_") and other in (asked[: asked.index(method)] if method in asked else asked)


def compare_methods(localization: pd.DataFrame) -> pd.DataFrame:
    """Every method against the methods in `REFERENCES`, paired by query: one row per position.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it.
    """
    tables = []
    for study in _studies_of(localization):
        keys, differences = [], []
        for model, method in study.answers:
            for other in REFERENCES:
                if _is_compared(method, other) and (model, other) in study.answers:
                    keys.append({"model": model, "method": method, "other": other})
                    overlaps = [study.values(model, name, "overlap") for name in (method, other)]
                    differences.append(overlaps[0] - overlaps[1])
        tables.append(_test(study, keys, differences))
    return pd.concat(tables, ignore_index=True)


def compare_studies(localization: pd.DataFrame, studies: Sequence[str]) -> pd.DataFrame:
    """Every study against the first one, method by method on the same queries: the columns of `COMPARISON_COLUMNS`.

    `study` is the other one, and `other` the first. All tests are one family, of which the frame probe is no part.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it; the studies ask about the same events.
    studies
        Their names; the first is what the others are held against.
    """
    first, *others = studies
    rows = localization[localization["study"].isin(studies)]
    together = _Study(first, rows.assign(method=rows["study"] + _OF + rows["method"]))
    keys, differences = [], []
    for model, own in together.answers:
        study, _, method = own.partition(_OF)
        if study in others and (model, first + _OF + method) in together.answers and method not in _UNTESTED:
            keys.append({"model": model, "method": own, "other": first})
            overlaps = [together.values(model, each, "overlap") for each in (own, first + _OF + method)]
            differences.append(overlaps[0] - overlaps[1])
    table = _test(together, keys, differences)
    named = table["method"].str.partition(_OF)
    table["study"], table["method"] = named[0], named[2]
    order = {study: number for number, study in enumerate(studies)}
    return table.sort_values("study", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _test(study: _Study, keys: list[dict[str, str]], differences: list[np.ndarray]) -> pd.DataFrame:
    """Paired tests of one family, by position: the columns of `COMPARISON_COLUMNS`.

    Parameters
    ----------
    keys
        Model, method and other of each comparison.
    differences
        Overlap of the one minus overlap of the other, from −1 to 1, [query], of each comparison.
    """
    if not keys:
        return pd.DataFrame(columns=list(COMPARISON_COLUMNS))
    subsets, masks = study.subsets()
    rows = 100 * (np.array(differences)[:, None] * masks).reshape(-1, masks.shape[1])
    found = estimate(rows, study.dependence)
    low, high = (np.clip(end, -100, 100) for end in found.interval())  # no difference of overlaps is beyond
    p = flip_signs(rows, study.dependence)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect_size = np.where(found.spread > 0, found.mean / found.spread, np.nan)
    table = pd.DataFrame([key | subset for key in keys for subset in subsets]).assign(study=study.name)
    table = table.assign(difference=found.mean, ci_low=low, ci_high=high, effect_size=effect_size, p=p, p_holm=holm(p))
    table = table.assign(n_queries=found.n_queries, n_clusters=found.n_clusters)
    held = np.tile(np.isfinite(masks).any(axis=-1), len(keys))
    return table.loc[held, list(COMPARISON_COLUMNS)]


def summarize_metrics(localization: pd.DataFrame) -> pd.DataFrame:
    """Means of the other measures (`measures.MEASURES`) by model, study, method and position.

    Shares are in percent, onset errors in seconds; these leave out queries without a prediction and count them. All
    leave out queries without a vector.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it.
    """
    parts = []
    for study in _studies_of(localization):
        subsets, masks = study.subsets()
        for model, method in study.answers:
            asked = study.asked(model, method, masks)
            scored = np.isfinite(masks * study.values(model, method, "overlap")).sum(axis=-1)
            for metric in MEASURES:
                means = estimate(masks * study.values(model, method, metric), study.dependence)
                in_seconds = metric.endswith("onset_error")
                low, high = means.interval() if in_seconds else means.share_interval()
                factor, unit = (1, "s") if in_seconds else (100, "%")
                part = pd.DataFrame(subsets).assign(model=model, study=study.name, method=method)
                part = part.assign(metric=metric, unit=unit, value=factor * means.mean)
                part = part.assign(ci_low=factor * low, ci_high=factor * high, n=means.n_queries)
                part = part.assign(n_missing=scored - means.n_queries, n_without_vector=asked - scored)
                parts.append(part[asked > 0])
    return pd.concat(parts, ignore_index=True)[list(METRIC_COLUMNS)]


def _count(localization: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Ties, unparsed answers and queries without a vector, by the columns of `keys`."""
    table = pd.concat([localization, localization.assign(position=OVERALL)], ignore_index=True)
    table["unparsed"], table["without_vector"] = ~table["parsed"].astype(bool), no_vector(table)
    counts = {"n_ties": "tied", "n_unparsed": "unparsed", "n_without_vector": "without_vector"}
    return table.groupby(keys).agg(**{name: (column, "sum") for name, column in counts.items()}).reset_index()


def count_failures(localization: pd.DataFrame) -> pd.DataFrame:
    """Queries without a prediction, by model, study, method and reason: the columns end with failure, n_queries.

    Those without a vector, which were not tried, are not among them.
    """
    failed = localization[(localization["failure"] != "") & ~no_vector(localization)]
    return failed.groupby(["model", "study", "method", "failure"], sort=False).size().reset_index(name="n_queries")


def read_published(path: str | Path) -> pd.DataFrame:
    """Read published numbers: overlap in percent by model, study, method and position, with their source.

    Raises
    ------
    UserError
        If a column is missing or a position is unknown.
    """
    table = pd.read_csv(path, keep_default_na=False)
    missing = [column for column in PUBLISHED_COLUMNS if column not in table]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing; add it")
    # Published samples are three events in sequence.
    positions = rows_of(POSITIONS)
    unknown = sorted(set(table["position"]) - set(positions))
    if unknown:
        raise UserError(f"{path}: unknown position {unknown[0]!r}; use one of {', '.join(positions)}")
    return table
