"""Baselines: the onset asked for in words, and windows drawn at random."""


rule prompt_directly:
    input:
        shard="results/benchmarks/{benchmark}/shards/{shard}.csv",
        checkpoint=by_name(checkpoint_files),
        code=code("prompt_directly"),
    output:
        answers="results/answers/{model}/{benchmark}/{shard}.csv",
    log:
        text="results/logs/prompt_directly/{model}/{benchmark}/{shard}.log",
        performance="results/performance/prompt_directly/{model}/{benchmark}/{shard}.json",
    benchmark:
        "results/performance/prompt_directly/{model}/{benchmark}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(answers_work),
        gpu=model_gpus,
    params:
        settings=lambda wildcards: CONFIG.direct_settings(wildcards.model).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {input.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --threads {threads} --output {output.answers:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule draw_random:
    input:
        events="results/benchmarks/{benchmark}/events.csv",
        code=code("draw_random"),
    output:
        answers="results/answers/random/{benchmark}.csv",
    log:
        "results/logs/draw_random/{benchmark}.log",
    benchmark:
        "results/performance/draw_random/{benchmark}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        draws=CONFIG.probe.random_draws,
        seed=CONFIG.probe.random_seed,
    shell:
        "python {input.code[0]:q} --events {input.events:q} --draws {params.draws} --seed {params.seed}"
        " --output {output.answers:q} > {log:q} 2>&1"
