"""Where to Listen: show where in a recording an audio-language model hears a sound."""

import atexit

from snakemake.utils import min_version

min_version("9.19")


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/resources.smk"
include: "rules/cluster.smk"
include: "rules/models.smk"
include: "rules/sounds.smk"
include: "rules/examples.smk"
include: "rules/states.smk"
include: "rules/passes.smk"
include: "rules/recordings.smk"
include: "rules/shares.smk"
include: "rules/choices.smk"
include: "rules/effects.smk"
include: "rules/scores.smk"
include: "rules/tables.smk"


if CONFIG.localizations:

    include: "rules/figures.smk"


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


rule check_models:
    input:
        table="results/checks/models.csv",
    localrule: True


rule examples:
    input:
        events=expand("results/examples/{examples}/events.csv", examples=CONFIG.sequences),
    localrule: True


rule states:
    input:
        shards=[path for name in LOCALIZED for path in of_models(state_shards, name)],
    localrule: True


rule directions:
    input:
        directions=expand("results/directions/{examples}/{model}.h5", examples=STEERED, model=CONFIG.models),
    localrule: True


rule attention:
    input:
        unsteered=[path for name in LOCALIZED for path in of_models(unsteered_shards, name)],
        steered=[path for study in STEERING for path in of_models(steered_shards, study)],
        maps=MAPS,
    localrule: True


rule audio_share:
    input:
        results=AUDIO_SHARE,
    localrule: True


rule listening:
    input:
        results=CHOICES,
    localrule: True


rule effects:
    input:
        results=EFFECTS,
    localrule: True


rule recordings:
    input:
        tables=INTERVALS,
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
