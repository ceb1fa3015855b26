"""Where to Listen: show where in a recording an audio-language model hears a sound."""

import atexit

from snakemake.utils import min_version

min_version("9.19")


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/models.smk"
include: "rules/clips.smk"
include: "rules/benchmark.smk"
include: "rules/probe.smk"
include: "rules/answers.smk"
include: "rules/localization.smk"
include: "rules/questions.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/sweeps.smk"
include: "rules/report.smk"
include: "rules/training.smk"
include: "rules/performance.smk"


# ------------------------------------------------------------------------------------------------------ named targets


rule all:
    default_target: True
    input:
        tables=TABLES,
        figures=FIGURES,
        pages=PAGES,
        rehearsal=REHEARSAL,
    localrule: True


rule fetch_models:
    input:
        files=expand("results/fetched_models/{model}.json", model=HUB_MODELS),
    localrule: True


rule benchmark:
    input:
        events=expand("results/benchmarks/{benchmark}/events.csv", benchmark=CONFIG.benchmarks),
    localrule: True


rule states:
    input:
        shards=[path for m in CONFIG.models for b in CONFIG.benchmarks for path in state_shards(m, b)],
    localrule: True


rule directions:
    input:
        directions=expand("results/directions/{model}/{benchmark}.h5", model=CONFIG.models, benchmark=CONFIG.benchmarks),
    localrule: True


rule attention:
    input:
        unsteered=[path for m in CONFIG.models for b in CONFIG.benchmarks for path in unsteered_shards(m, b)],
        steered=[path for m in CONFIG.models for b in CONFIG.benchmarks for path in steered_shards(m, b)],
        maps=expand(
            "results/attention/{model}/{benchmark}/map.h5", model=CONFIG.models, benchmark=CONFIG.figures.overlap
        ),
    localrule: True


rule audio_share:
    input:
        results=AUDIO_SHARE,
    localrule: True


rule tables:
    input:
        tables=TABLES,
    localrule: True


rule figures:
    input:
        figures=FIGURES,
    localrule: True


rule sweeps:
    input:
        figures=announced_sweeps,
    localrule: True


rule train_tiny_models:
    input:
        cards=expand("results/tiny_models/{tiny_model}/README.md", tiny_model=TINY_MODELS),
    localrule: True


onstart:
    refuse_orphans()


onsuccess:
    print(where_to_look())


onerror:
    # At the very end, below what Snakemake itself has to say.
    atexit.register(print, what_to_do(log), file=sys.stderr)
