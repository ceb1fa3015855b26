"""What un-steered passes about examples leave, in all studies alike: states, attention, answers; and label means."""


rule extract_activations:
    input:
        shard="results/examples/{examples}/shards/{shard}.csv",
        clips=lambda wildcards: clips_of(wildcards.examples),
        checkpoint=by_name(checkpoint_files),
    output:
        states="results/states/{examples}/{model}/{shard}.h5",
        passes="results/unsteered/{examples}/{model}/{shard}.h5",
        frames="results/frames/{examples}/{model}/{shard}.h5",
    log:
        text="results/logs/extract_activations/{examples}/{model}/{shard}.log",
        performance="results/performance/extract_activations/{examples}/{model}/{shard}.json",
    benchmark:
        "results/performance/extract_activations/{examples}/{model}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(extraction_work),
        gpu=model_gpus,
    params:
        code=code("extract_activations"),
        settings=lambda wildcards: CONFIG.unsteered_settings(wildcards.model, wildcards.examples).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q} --clips {input.clips:q}"
        " --threads {threads} --states {output.states:q} --passes {output.passes:q} --frames {output.frames:q}"
        " --performance {log.performance:q} > {log.text:q} 2>&1"


rule prompt_directly:
    input:
        shard="results/examples/{examples}/shards/{shard}.csv",
        checkpoint=by_name(checkpoint_files),
    output:
        answers="results/answers/{examples}/{model}/{shard}.csv",
    log:
        text="results/logs/prompt_directly/{examples}/{model}/{shard}.log",
        performance="results/performance/prompt_directly/{examples}/{model}/{shard}.json",
    benchmark:
        "results/performance/prompt_directly/{examples}/{model}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(answers_work),
        gpu=model_gpus,
    params:
        code=code("extract_activations"),
        settings=lambda wildcards: CONFIG.direct_settings(wildcards.model, wildcards.examples).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --threads {threads} --answers {output.answers:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule average_vectors:
    input:
        states=lambda wildcards: state_shards(wildcards.model, wildcards.examples),
        shards=lambda wildcards: example_shards(wildcards.examples),
    output:
        directions="results/directions/{examples}/{model}.h5",
    log:
        "results/logs/average_vectors/{examples}/{model}.log",
    benchmark:
        "results/performance/average_vectors/{examples}/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code("average_vectors"),
        settings=lambda wildcards: CONFIG.averaging_settings(wildcards.examples).as_json(),
        identity=lambda wildcards: CONFIG.models[wildcards.model].identity,
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --states {input.states:q} --shards {input.shards:q}"
        " --identity {params.identity:q} --output {output.directions:q} > {log:q} 2>&1"
