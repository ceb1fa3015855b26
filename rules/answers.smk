"""A baseline: the onset asked for in words."""


rule prompt_directly:
    input:
        shard="results/benchmarks/{benchmark}/shards/{shard}.csv",
        checkpoint=by_name(checkpoint_files),
    output:
        answers="results/answers/{model}/{benchmark}/{shard}.csv",
    log:
        text="results/logs/prompt_directly/{model}/{benchmark}/{shard}.log",
        performance="results/performance/prompt_directly/{model}/{benchmark}/{shard}.json",
    benchmark:
        "results/performance/prompt_directly/{model}/{benchmark}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(answers_work),
        gpu=model_gpus,
    params:
        code=code("extract_activations"),
        settings=lambda wildcards: CONFIG.direct_settings(wildcards.model).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --threads {threads} --answers {output.answers:q} --performance {log.performance:q} > {log.text:q} 2>&1"
