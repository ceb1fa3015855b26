"""From attention, answers and draws to windows and their overlap with the truth."""


rule localize_events:
    input:
        shards=lambda wildcards: benchmark_shards(wildcards.benchmark),
        activations=lambda wildcards: activation_shards(wildcards.model, wildcards.benchmark),
        begin=lambda wildcards: attention_shards(wildcards.model, wildcards.benchmark, "begin"),
        middle=lambda wildcards: attention_shards(wildcards.model, wildcards.benchmark, "middle"),
        end=lambda wildcards: attention_shards(wildcards.model, wildcards.benchmark, "end"),
        answers=lambda wildcards: answer_shards(wildcards.model, wildcards.benchmark),
        code=code("localize_events"),
    output:
        localization="results/localization/{model}/{benchmark}.csv",
        unknown_duration="results/localization/unknown_duration/{model}/{benchmark}.csv",
    log:
        "results/logs/localize_events/{model}/{benchmark}.log",
    benchmark:
        "results/performance/localize_events/{model}/{benchmark}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=CONFIG.probe.localization.as_json(),
        identity=lambda wildcards: CONFIG.models[wildcards.model].identity,
    shell:
        "python {input.code[0]:q} --settings {params.settings:q} --model {wildcards.model}"
        " --identity {params.identity:q} --benchmark {wildcards.benchmark} --shards {input.shards:q}"
        " --activations {input.activations:q}"
        " --begin {input.begin:q} --middle {input.middle:q} --end {input.end:q} --answers {input.answers:q}"
        " --output {output.localization:q} --unknown-duration {output.unknown_duration:q} > {log:q} 2>&1"


rule score_random:
    input:
        events="results/benchmarks/{benchmark}/events.csv",
        answers="results/answers/random/{benchmark}.csv",
        code=code("score_random"),
    output:
        localization="results/localization/random/{benchmark}.csv",
    log:
        "results/logs/score_random/{benchmark}.log",
    benchmark:
        "results/performance/score_random/{benchmark}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]:q} --benchmark {wildcards.benchmark} --events {input.events:q}"
        " --answers {input.answers:q} --output {output.localization:q} > {log:q} 2>&1"


rule keep_events:
    input:
        events="results/benchmarks/{benchmark}/events.csv",
    output:
        events="results/localization/events/{benchmark}.csv",
    log:
        "results/logs/keep_events/{benchmark}.log",
    benchmark:
        "results/performance/keep_events/{benchmark}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=10,
    # Figures are drawn where the benchmark is not, from what lies with the predictions.
    shell:
        "cp {input.events:q} {output.events:q} > {log:q} 2>&1"
