"""How long the jobs of a run took, from the figures they leave beside their logs."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = (
    "model",
    "rule",
    "n_jobs",
    "n_measured",
    "n_samples",
    "job_s",
    "cpu_s",
    "wall_s",
    "samples_per_s",
    "tokens_per_s",
)
"""First columns of throughput.csv: n_measured jobs left figures; job_s counts seconds from the start of a job to its
end, cpu_s those of processors, wall_s those since the model was loaded, in which samples_per_s counts; tokens_per_s
counts while tokens go through the text stack."""

_MB_PER_MIB = 1.048576
"""Snakemake counts memory in 2²⁰ bytes, jobs in 10⁶."""


@dataclass(frozen=True, order=True)
class Job:
    """One job: its rule, its study or examples, its model, and the rest of its name, such as `begin/0`."""

    rule: str
    study: str
    model: str
    name: str = ""

    def path(self, folder: Path) -> Path:
        """Where its figures lie, without suffix."""
        return folder / self.rule / self.study / self.model / self.name


def find_jobs(folder: Path, models: Collection[str]) -> set[Job]:
    """Jobs of the configured models that left figures in `results/performance`, as `<rule>/<study>/<model>/<name>`, the
    last perhaps missing, with `.json` (of the job itself, where it runs the model) and `.tsv` (Snakemake's).
    """
    found = set()
    for path in folder.glob("*/*/**/*"):
        if path.suffix in (".json", ".tsv"):
            rule, study, *names = path.relative_to(folder).with_suffix("").parts
            if names and names[0] in models:
                found.add(Job(rule, study, names[0], "/".join(names[1:])))
    return found


def summarize_throughput(jobs: Iterable[Job], folder: Path) -> pd.DataFrame:
    """Time and memory by model and rule, summed over jobs; the largest peak of memory.

    Returns
    -------
    pandas.DataFrame
        The columns of `COLUMNS`; peak_host_mb and, where there was a GPU, peak_device_mb (10⁶ bytes); seconds_<stage>
        for every stage (`engine.meter.STAGES`). Missing where it is not known.
    """
    rows = [{"model": job.model, "rule": job.rule, **_figures(job.path(folder))} for job in sorted(jobs)]
    if not rows:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.DataFrame(rows)
    peaks = [name for name in table if name.startswith("peak_")]
    amounts = [name for name in table if name not in ("model", "rule", *peaks)]
    table[[*amounts, *peaks]] = table[[*amounts, *peaks]].astype(float)
    groups = table.groupby(["model", "rule"])
    summed = groups[amounts].sum(min_count=1)
    summed["n_jobs"] = groups.size()
    summed["samples_per_s"] = summed["n_samples"] / summed["wall_s"]
    summed["tokens_per_s"] = summed["n_tokens"] / summed["stack_s"]
    summed = summed.join(groups[peaks].max()).reset_index()
    for name in ("n_measured", "n_samples"):
        summed[name] = summed[name].astype("Int64")
    stages = [name for name in summed if name.startswith("seconds_")]
    return summed[[*COLUMNS, *peaks, *stages]]


def _figures(path: Path) -> dict[str, Any]:
    own, watched = _read_json(path.with_name(path.name + ".json")), _read_tsv(path.with_name(path.name + ".tsv"))
    seconds, peaks = own.get("seconds", {}), own.get("peak_memory_mb", {})
    rss = watched.get("max_rss")
    # tokens_per_s counts the time in the text stack only; what it divided by comes back from it.
    n_tokens = sum(own["tokens"].values()) if own.get("tokens_per_s") else None
    return {
        "n_measured": int(bool(own or watched)),
        "n_samples": own.get("n_samples"),
        "job_s": watched.get("s"),
        "cpu_s": watched.get("cpu_time"),
        "wall_s": own.get("wall_s"),
        "n_tokens": n_tokens,
        "stack_s": n_tokens / own["tokens_per_s"] if n_tokens else None,
        "peak_host_mb": peaks.get("host", rss and rss * _MB_PER_MIB),
        **({"peak_device_mb": peaks["device"]} if "device" in peaks else {}),
        **{f"seconds_{stage}": spent for stage, spent in seconds.items()},
    }


def _read_json(path: Path) -> dict[str, Any]:
    """Figures of the job itself; none where the file is missing or was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _read_tsv(path: Path) -> dict[str, float]:
    """Snakemake's figures of the job, as numbers; none where the file is missing or a job was too short to be seen."""
    try:
        row = pd.read_csv(path, sep="\t").iloc[-1]
    except (FileNotFoundError, ValueError, IndexError):
        return {}
    return pd.to_numeric(row.drop("h:m:s", errors="ignore"), errors="coerce").dropna().to_dict()
