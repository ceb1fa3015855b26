"""What a run was: its configuration, what every method answered, how fast it was, where its results come from."""

import math
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.config.dump import as_yaml
from wheretolisten.config.workflow import Config
from wheretolisten.files import write_text
from wheretolisten.localization.table import read_localization
from wheretolisten.report import page
from wheretolisten.report.names import method_name, model_name
from wheretolisten.statistics.coverage import COLUMNS as COVERAGE_COLUMNS
from wheretolisten.statistics.coverage import count_coverage
from wheretolisten.statistics.origins import find_differences, read_origins
from wheretolisten.statistics.tables import write_table
from wheretolisten.statistics.throughput import Job, find_jobs, summarize_throughput

COVERAGE = (
    "Queries of each study by what became of them. Ties are among the answered ones and score the mean of the tied "
    "windows; unparsed and failed queries have no window and count in the tables with overlap 0. Those that were "
    "skipped, or that the method has no vector for, do not count."
)
THROUGHPUT = (
    "Summed over jobs; of a job that went on after an interruption, its last sitting. Samples per second count from "
    "when the model is loaded, tokens per second while tokens go through the text stack. Peak memory, in MB, is the "
    "largest of any job."
)


def main(argv: list[str] | None = None) -> None:
    """Write the configuration as YAML, the summary as csv tables, and a page that shows all of it.

    Results are read where they are there, in the folder `results`.
    """
    args = arguments.parse(
        __doc__,
        argv,
        config=Config.from_json,
        localization=[Path],
        results=Path,
        resolved=Path,
        coverage=Path,
        throughput=Path,
        origins=Path,
        page=Path,
    )
    logger = log.start("summarize_run")
    config = args.config

    coverage = pd.DataFrame(columns=list(COVERAGE_COLUMNS))  # a run may have no study of windows
    if args.localization:
        coverage = count_coverage(read_localization(args.localization))
    origins = read_origins(_result_files(args.results, config), args.results)
    differences = find_differences(origins)
    folder = args.results / "performance"
    # Results tell which jobs there were, and figures which other ones.
    jobs = find_jobs(folder, config.models) | {
        _job_of(Path(file).relative_to(args.results), folder, config) for file in origins["file"]
    }
    throughput = summarize_throughput(jobs, folder)

    for row in differences.itertuples():
        logger.warning("%s: %s is %s in %d files", row.model, row.fact, row.value, row.n_files)
    n_missing = int((throughput["n_jobs"] - throughput["n_measured"]).sum())
    if n_missing:
        logger.warning("%d of %d jobs left no figures in %s", n_missing, throughput["n_jobs"].sum(), folder)
    for table, target in (
        (coverage, args.coverage),
        (throughput, args.throughput),
        (origins, args.origins),
    ):
        write_table(table, target)
    resolved = as_yaml(config)
    write_text(args.resolved, resolved)
    body = [
        page.heading("Run", 1),
        page.paragraph(
            f"{len(config.models)} models, {len(config.studies)} studies, "
            f"{coverage.drop_duplicates('study')['n_queries'].sum()} queries."
        ),
        *_show_coverage(coverage),
        *_show_throughput(throughput, n_missing),
        *_show_origins(origins, differences),
        page.heading("Configuration"),
        page.paragraph(
            "As checked, every key spelled out. In place of config.yaml, or laid over it, it repeats the run."
        ),
        page.preformatted(resolved),
    ]
    write_text(args.page, page.document("Run", body))
    logger.info("%d result files, %d jobs: %s", len(origins), len(jobs), args.page)


def _result_files(results: Path, config: Config) -> list[Path]:
    """What models wrote, as far as it is there; not the shards of an earlier run with more samples."""
    n_shards = {("unsteered", name): config.n_shards(name) for name in config.sequences}
    n_shards |= {("passes", name): config.n_shards(study.examples) for name, study in config.localizations.items()}
    n_shards |= {("passes", name): config.n_shards(config.sweep_examples(name)) for name in config.sweeps}
    n_shards |= {("passes", name): math.inf for name in config.shares}
    n_shards |= {("choices", name): math.inf for name in config.choices}
    found = [
        path
        for (kind, name), n in n_shards.items()
        for model in config.models
        for path in (results / kind / name / model).rglob("*.h5")
        if path.parent.suffix != ".parts" and int(path.stem) < n
    ]
    found += [results / "effects" / name / f"{model}.json" for name in config.of_pairs for model in config.models]
    drawn = [config.figures.overlap] if config.localizations else []
    maps = [results / "maps" / study / f"{model}.h5" for study in drawn for model in config.models]
    return sorted(path for path in (*found, *maps) if path.exists())


def _job_of(result: Path, performance: Path, config: Config) -> Job:
    """The job that wrote `<kind>/<name>/<model>/...`; one may have written the passes of all events of a shard."""
    kind, name, model, *names = result.with_suffix("").parts
    if kind == "maps":
        return Job("map_attention", name, model)
    if kind == "effects":
        return Job("unlearn_facts" if name in config.unlearnings else "steer_texts", name, model)
    *target, shard = names
    if kind == "choices":
        return Job("choose_answers", name, model, f"{target[0]}/{shard}")
    if kind == "unsteered":
        return Job("extract_activations", name, model, shard)
    if name in config.sweeps or name in config.shares:
        return Job("sweep_attention" if name in config.sweeps else "analyze_attention", name, model, shard)
    alone = Job("steer_attention", name, model, f"{target[0]}/{shard}")
    left = alone.path(performance)
    if left.with_name(left.name + ".json").exists():
        return alone
    return Job("steer_events", name, model, shard)


def _show_coverage(coverage: pd.DataFrame) -> list[str]:
    if coverage.empty:
        return []
    shown = coverage.assign(model=coverage["model"].map(model_name), method=coverage["method"].map(method_name))
    shown.columns = [_words(name) for name in shown]
    return [page.heading("Coverage"), page.paragraph(COVERAGE), page.table(shown)]


def _show_throughput(throughput: pd.DataFrame, n_missing: int) -> list[str]:
    blocks = [page.heading("Time and memory"), page.paragraph(THROUGHPUT)]
    if n_missing:
        blocks.append(
            page.paragraph(f"{n_missing} of {throughput['n_jobs'].sum()} jobs left no figures and are not in the sums.")
        )
    stages = [name for name in throughput if name.startswith("seconds_")]
    shown = throughput.assign(model=throughput["model"].map(model_name))
    jobs, by_stage = shown.drop(columns=stages), shown.dropna(subset=["wall_s"])[["model", "rule", "wall_s", *stages]]
    jobs.columns = [_words(name) for name in jobs]
    blocks.append(page.table(jobs))
    if stages:
        by_stage.columns = [_words(name.removeprefix("seconds_")) for name in by_stage]
        blocks += [page.heading("Seconds by stage", 3), page.table(by_stage)]
    return blocks


def _show_origins(origins: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    blocks = [page.heading("Where the results come from")]
    if origins.empty:
        return [*blocks, page.paragraph("No result of a model is at hand.")]
    facts = origins.drop(columns=["file", "study", "rule", "code_digest"])
    facts["checkpoint_digest"] = facts["checkpoint_digest"].str[:12]
    shown = facts.groupby("model", sort=False).agg(lambda values: ", ".join(sorted({str(v) for v in values if v})))
    shown = shown.T.replace("", None).dropna(how="all").rename_axis("").reset_index()
    shown[""] = shown[""].map(_words)
    shown.columns = ["", *map(model_name, shown.columns[1:])]
    blocks.append(page.table(shown))
    if differences.empty:
        alike = "All results of a model come from the same checkpoint, code, packages and device."
        return [*blocks, page.paragraph(alike)]
    named = differences.assign(model=differences["model"].map(model_name), fact=differences["fact"].map(_words))
    named.columns = [_words(name) for name in named]
    return [
        *blocks,
        page.heading("Results of one model that differ in it", 3),
        page.paragraph("Their numbers may differ for that reason alone; delete the files to compute them again alike."),
        page.table(named),
    ]


def _words(name: str) -> str:
    """A column's name as a heading: `n_queries` becomes Queries."""
    named = {
        "job_s": "Job s",
        "cpu_s": "CPU s",
        "wall_s": "With model s",
        "n_jobs": "Jobs",
        "n_measured": "With figures",
    }
    named |= {"samples_per_s": "Samples/s", "tokens_per_s": "Tokens/s", "peak_host_mb": "Peak MB"}
    named |= {"peak_device_mb": "Peak GPU MB", "dtype": "dtype"}
    return named.get(name) or name.removeprefix("n_").replace("_", " ").capitalize()


if __name__ == "__main__":
    log.run(main)
