"""Samples of three sounds in sequence. A shard depends on its own samples only: adding samples redoes none."""


rule compose_benchmark:
    input:
        clips=lambda wildcards: f"results/clips/{CONFIG.benchmarks[wildcards.benchmark].library}/clips.csv",
        code=code("compose_benchmark"),
    output:
        shard="results/benchmarks/{benchmark}/shards/{shard}.csv",
        audio=directory("results/benchmarks/{benchmark}/audio/{shard}"),
    log:
        "results/logs/compose_benchmark/{benchmark}/{shard}.log",
    benchmark:
        "results/performance/compose_benchmark/{benchmark}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(30),
    params:
        settings=lambda wildcards: CONFIG.benchmarks[wildcards.benchmark].composition.as_json(),
        first=lambda wildcards: CONFIG.shard_range(wildcards.benchmark, int(wildcards.shard))[0],
        stop=lambda wildcards: CONFIG.shard_range(wildcards.benchmark, int(wildcards.shard))[1],
    shell:
        "python {input.code[0]:q} --settings {params.settings:q} --clips {input.clips:q}"
        " --first {params.first} --stop {params.stop} --shard {output.shard:q} --audio {output.audio:q}"
        " > {log:q} 2>&1"


rule collect_benchmark:
    input:
        shards=lambda wildcards: benchmark_shards(wildcards.benchmark),
        code=code("collect_benchmark"),
    output:
        samples="results/benchmarks/{benchmark}/samples.csv",
        events="results/benchmarks/{benchmark}/events.csv",
    log:
        "results/logs/collect_benchmark/{benchmark}.log",
    benchmark:
        "results/performance/collect_benchmark/{benchmark}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]:q} --shards {input.shards:q}"
        " --samples {output.samples:q} --events {output.events:q} > {log:q} 2>&1"
