"""The probe's passes through a model: without steering, then with it."""


rule extract_activations:
    input:
        shard="results/benchmarks/{benchmark}/shards/{shard}.csv",
        checkpoint=by_name(checkpoint_files),
    output:
        states="results/states/{model}/{benchmark}/{shard}.h5",
        passes="results/attention/{model}/{benchmark}/unsteered/{shard}.h5",
    log:
        text="results/logs/extract_activations/{model}/{benchmark}/{shard}.log",
        performance="results/performance/extract_activations/{model}/{benchmark}/{shard}.json",
    benchmark:
        "results/performance/extract_activations/{model}/{benchmark}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(extraction_work),
        gpu=model_gpus,
    params:
        code=code("extract_activations"),
        settings=lambda wildcards: CONFIG.unsteered_settings(wildcards.model, wildcards.benchmark).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q} --threads {threads}"
        " --states {output.states:q} --passes {output.passes:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule average_vectors:
    input:
        states=lambda wildcards: state_shards(wildcards.model, wildcards.benchmark),
        shards=lambda wildcards: benchmark_shards(wildcards.benchmark),
    output:
        directions="results/directions/{model}/{benchmark}.h5",
    log:
        "results/logs/average_vectors/{model}/{benchmark}.log",
    benchmark:
        "results/performance/average_vectors/{model}/{benchmark}.tsv"
    conda:
        "../envs/figures.yaml"
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code("average_vectors"),
        settings=lambda wildcards: CONFIG.averaging_settings(wildcards.benchmark).as_json(),
        identity=lambda wildcards: CONFIG.models[wildcards.model].identity,
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --states {input.states:q} --shards {input.shards:q}"
        " --identity {params.identity:q} --output {output.directions:q} > {log:q} 2>&1"


rule steer_attention:
    input:
        shard="results/benchmarks/{benchmark}/shards/{shard}.csv",
        states="results/states/{model}/{benchmark}/{shard}.h5",
        directions="results/directions/{model}/{benchmark}.h5",
        checkpoint=by_name(checkpoint_files),
    output:
        attention="results/attention/{model}/{benchmark}/{position}/{shard}.h5",
    log:
        text="results/logs/steer_attention/{model}/{benchmark}/{position}/{shard}.log",
        performance="results/performance/steer_attention/{model}/{benchmark}/{position}/{shard}.json",
    benchmark:
        "results/performance/steer_attention/{model}/{benchmark}/{position}/{shard}.tsv"
    wildcard_constraints:
        benchmark=one_of([benchmark for benchmark in CONFIG.benchmarks if benchmark not in TOGETHER]),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(steering_work),
        gpu=model_gpus,
    params:
        code=code("steer_attention"),
        settings=lambda wildcards: CONFIG.steering_settings(wildcards.model, wildcards.benchmark).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --states {input.states:q} --directions {input.directions:q} --threads {threads}"
        " --output {output.attention:q} --performance {log.performance:q} > {log.text:q} 2>&1"


# On this machine one job takes all events of a shard, because most of its time goes into starting. The files are the same.
use rule steer_attention as steer_events with:
    output:
        attention=expand(
            "results/attention/{model}/{benchmark}/{position}/{shard}.h5", position=POSITIONS, allow_missing=True
        ),
    log:
        text="results/logs/steer_events/{model}/{benchmark}/{shard}.log",
        performance="results/performance/steer_events/{model}/{benchmark}/{shard}.json",
    benchmark:
        "results/performance/steer_events/{model}/{benchmark}/{shard}.tsv"
    wildcard_constraints:
        benchmark=one_of(TOGETHER),


rule map_attention:
    input:
        shard=reading_shard,
        states=reading_states,
        directions="results/directions/{model}/{benchmark}.h5",
        checkpoint=by_name(checkpoint_files),
    output:
        attention="results/attention/{model}/{benchmark}/map.h5",
    log:
        text="results/logs/map_attention/{model}/{benchmark}.log",
        performance="results/performance/map_attention/{model}/{benchmark}.json",
    benchmark:
        "results/performance/map_attention/{model}/{benchmark}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(map_work),
        gpu=model_gpus,
    params:
        code=code("steer_attention"),
        settings=lambda wildcards: CONFIG.map_settings(wildcards.model).as_json(),
        checkpoint=by_digest(checkpoint_files),
        sample=CONFIG.figures.reading_sample,
        position=CONFIG.figures.reading_position,
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --states {input.states:q} --directions {input.directions:q}"
        " --sample {params.sample} --event {params.position} --threads {threads}"
        " --output {output.attention:q} --performance {log.performance:q} > {log.text:q} 2>&1"
