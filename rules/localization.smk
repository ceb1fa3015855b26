"""From attention, answers and random draws to windows and their overlap with the truth."""


localrules:
    localize_events,
    score_random,


rule localize_events:
    input:
        shards=lambda wildcards: benchmark_shards(wildcards.benchmark),
        unsteered=lambda wildcards: unsteered_shards(wildcards.model, wildcards.benchmark),
        steered=lambda wildcards: steered_shards(wildcards.model, wildcards.benchmark),
        answers=lambda wildcards: answer_shards(wildcards.model, wildcards.benchmark),
    output:
        localization="results/localization/{model}/{benchmark}.csv",
        unknown_duration="results/localization/unknown_duration/{model}/{benchmark}.csv",
    log:
        "results/logs/localize_events/{model}/{benchmark}.log",
    benchmark:
        "results/performance/localize_events/{model}/{benchmark}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("localize_events"),
        settings=CONFIG.probe.localization.as_json(),
        identity=lambda wildcards: CONFIG.models[wildcards.model].identity,
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --model {wildcards.model}"
        " --identity {params.identity:q} --benchmark {wildcards.benchmark} --shards {input.shards:q}"
        " --unsteered {input.unsteered:q} --steered {input.steered:q} --answers {input.answers:q}"
        " --output {output.localization:q} --unknown-duration {output.unknown_duration:q} > {log:q} 2>&1"


rule score_random:
    input:
        events="results/benchmarks/{benchmark}/events.csv",
    output:
        localization="results/localization/random/{benchmark}.csv",
        events="results/localization/events/{benchmark}.csv",
    log:
        "results/logs/score_random/{benchmark}.log",
    benchmark:
        "results/performance/score_random/{benchmark}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("score_random"),
        draws=CONFIG.probe.random_draws,
        seed=CONFIG.probe.random_seed,
    shell:
        "python {params.code[0]:q} --benchmark {wildcards.benchmark} --events {input.events:q}"
        " --draws {params.draws} --seed {params.seed} --localization {output.localization:q}"
        " --kept-events {output.events:q} > {log:q} 2>&1"
