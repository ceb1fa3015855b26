"""Windows and overlap of every query: of a study's methods, of chance, and at every value of a sweep."""


localrules:
    localize_events,
    score_random,
    score_sweep,


rule localize_events:
    input:
        shards=lambda wildcards: example_shards(examples_of(wildcards.study)),
        unsteered=lambda wildcards: unsteered_shards(wildcards.model, examples_of(wildcards.study)),
        steered=lambda wildcards: steered_shards(wildcards.model, wildcards.study),
        frames=lambda wildcards: (
            frame_shards(wildcards.model, examples_of(wildcards.study))
            if CONFIG.studies[wildcards.study].frame_probe
            else []
        ),
        answers=lambda wildcards: (
            answer_shards(wildcards.model, examples_of(wildcards.study))
            if CONFIG.studies[wildcards.study].direct_prompt
            else []
        ),
    output:
        localization="results/scores/{study}/{model}.csv",
        unknown_duration="results/unknown_duration/{study}/{model}.csv",
        detection="results/detection/{study}/{model}.csv",
    log:
        "results/logs/localize_events/{study}/{model}.log",
    benchmark:
        "results/performance/localize_events/{study}/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("localize_events"),
        settings=lambda wildcards: CONFIG.scoring_settings(wildcards.study).as_json(),
        identity=lambda wildcards: CONFIG.models[wildcards.model].identity,
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --model {wildcards.model}"
        " --identity {params.identity:q} --study {wildcards.study} --shards {input.shards:q}"
        " --unsteered {input.unsteered:q} --steered {input.steered:q} --frames {input.frames:q}"
        " --answers {input.answers:q}"
        " --output {output.localization:q} --unknown-duration {output.unknown_duration:q}"
        " --detection {output.detection:q} > {log:q} 2>&1"


rule score_random:
    input:
        events=lambda wildcards: f"results/examples/{examples_of(wildcards.study)}/events.csv",
    output:
        localization="results/scores/{study}/random.csv",
        events="results/events/{study}.csv",
    log:
        "results/logs/score_random/{study}.log",
    benchmark:
        "results/performance/score_random/{study}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("score_random"),
        draws=CONFIG.random_draws,
        seed=CONFIG.random_seed,
    shell:
        "python {params.code[0]:q} --study {wildcards.study} --events {input.events:q}"
        " --draws {params.draws} --seed {params.seed} --localization {output.localization:q}"
        " --kept-events {output.events:q} > {log:q} 2>&1"


# A sweep that needs no passes of its own starts here.
rule score_sweep:
    input:
        unpack(sweep_files),
        events=lambda wildcards: f"results/events/{CONFIG.study_of(wildcards.sweep)}.csv",
    output:
        localization="results/scores/{sweep}.csv",
    log:
        "results/logs/score_sweep/{sweep}.log",
    benchmark:
        "results/performance/score_sweep/{sweep}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("score_sweep"),
        settings=lambda wildcards: CONFIG.score_settings(wildcards.sweep).as_json(),
        models=lambda wildcards: CONFIG.sweep_models(wildcards.sweep),
        identities=lambda wildcards: [CONFIG.models[m].identity for m in CONFIG.sweep_models(wildcards.sweep)],
        study=lambda wildcards: CONFIG.study_of(wildcards.sweep),
        samples=lambda wildcards: sum(CONFIG.sweep_samples(wildcards.sweep).values()),
        passes=lambda wildcards: CONFIG.passes_of(
            CONFIG.study_of(wildcards.sweep), CONFIG.studies[wildcards.sweep].method
        ),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --sweep {wildcards.sweep}"
        " --models {params.models} --identities {params.identities:q} --study {params.study}"
        " --samples {params.samples} --shards {input.shards:q} --events {input.events:q} --passes {params.passes}"
        " --attention {input.attention:q} --unsteered {input.unsteered:q} --steered {input.steered:q}"
        " --output {output.localization:q} > {log:q} 2>&1"
