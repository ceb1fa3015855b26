"""Samples of three sounds in sequence. A shard depends on its own samples only: adding samples redoes none."""


localrules:
    collect_benchmark,


rule compose_benchmark:
    input:
        clips=lambda wildcards: f"results/clips/{CONFIG.benchmarks[wildcards.benchmark].library}/clips.csv",
    output:
        shard="results/benchmarks/{benchmark}/shards/{shard}.csv",
        audio=directory("results/benchmarks/{benchmark}/audio/{shard}"),
    log:
        "results/logs/compose_benchmark/{benchmark}/{shard}.log",
    benchmark:
        "results/performance/compose_benchmark/{benchmark}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(30),
    params:
        code=code("compose_benchmark"),
        settings=lambda wildcards: CONFIG.benchmarks[wildcards.benchmark].composition.as_json(),
        first=lambda wildcards: CONFIG.shard_range(wildcards.benchmark, int(wildcards.shard))[0],
        stop=lambda wildcards: CONFIG.shard_range(wildcards.benchmark, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --clips {input.clips:q}"
        " --first {params.first} --stop {params.stop} --shard {output.shard:q} --audio {output.audio:q}"
        " > {log:q} 2>&1"


rule collect_benchmark:
    input:
        shards=lambda wildcards: benchmark_shards(wildcards.benchmark),
    output:
        samples="results/benchmarks/{benchmark}/samples.csv",
        events="results/benchmarks/{benchmark}/events.csv",
    log:
        "results/logs/collect_benchmark/{benchmark}.log",
    benchmark:
        "results/performance/collect_benchmark/{benchmark}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("collect_benchmark"),
    shell:
        "python {params.code[0]:q} --shards {input.shards:q}"
        " --samples {output.samples:q} --events {output.events:q} > {log:q} 2>&1"
