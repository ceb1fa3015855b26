"""Steered passes of studies of windows, and of what a figure shows in detail."""


rule steer_attention:
    input:
        unpack(steered_inputs),
        checkpoint=by_name(checkpoint_files),
    output:
        attention="results/passes/{study}/{model}/{position}/{shard}.h5",
    log:
        text="results/logs/steer_attention/{study}/{model}/{position}/{shard}.log",
        performance="results/performance/steer_attention/{study}/{model}/{position}/{shard}.json",
    benchmark:
        "results/performance/steer_attention/{study}/{model}/{position}/{shard}.tsv"
    wildcard_constraints:
        study=one_of([study for study in CONFIG.localizations if study not in TOGETHER + TOGETHER_WITHOUT_ABSENT]),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(steering_work),
        gpu=model_gpus,
    params:
        code=code("steer_attention"),
        settings=lambda wildcards: CONFIG.steering_settings(wildcards.model, wildcards.study).as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --clips {input.clips:q} --states {input.states:q} --states-shard {input.states_shard:q}"
        " --directions {input.directions:q} --threads {threads}"
        " --output {output.attention:q} --performance {log.performance:q} > {log.text:q} 2>&1"


# On this machine one job takes all events of a shard, because most of its time goes into starting. The files are the same.
use rule steer_attention as steer_events with:
    output:
        attention=expand(
            "results/passes/{study}/{model}/{position}/{shard}.h5", position=EVENTS_TOGETHER, allow_missing=True
        ),
    log:
        text="results/logs/steer_events/{study}/{model}/{shard}.log",
        performance="results/performance/steer_events/{study}/{model}/{shard}.json",
    benchmark:
        "results/performance/steer_events/{study}/{model}/{shard}.tsv"
    wildcard_constraints:
        study=one_of(TOGETHER),


use rule steer_events as steer_events_without_absent with:
    output:
        attention=expand("results/passes/{study}/{model}/{position}/{shard}.h5", position=POSITIONS, allow_missing=True),
    log:
        text="results/logs/steer_events_without_absent/{study}/{model}/{shard}.log",
        performance="results/performance/steer_events_without_absent/{study}/{model}/{shard}.json",
    benchmark:
        "results/performance/steer_events_without_absent/{study}/{model}/{shard}.tsv"
    wildcard_constraints:
        study=one_of(TOGETHER_WITHOUT_ABSENT),


rule sweep_attention:
    input:
        unpack(swept_inputs),
        checkpoint=by_name(checkpoint_files),
    output:
        attention="results/passes/{sweep}/{model}/all/{shard}.h5",
    log:
        text="results/logs/sweep_attention/{sweep}/{model}/{shard}.log",
        performance="results/performance/sweep_attention/{sweep}/{model}/{shard}.json",
    benchmark:
        "results/performance/sweep_attention/{sweep}/{model}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(sweep_work),
        gpu=model_gpus,
    params:
        code=code("steer_attention"),
        settings=lambda wildcards: CONFIG.sweep_settings(wildcards.sweep, wildcards.model).as_json(),
        checkpoint=by_digest(checkpoint_files),
        samples=lambda wildcards: CONFIG.sweep_samples(wildcards.sweep)[int(wildcards.shard)],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --clips {input.clips:q} --samples {params.samples} --states {input.states:q}"
        " --states-shard {input.states_shard:q} --directions {input.directions:q}"
        " --all-events --threads {threads} --output {output.attention:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule map_attention:
    input:
        unpack(mapped_inputs),
        checkpoint=by_name(checkpoint_files),
    output:
        attention="results/maps/{study}/{model}.h5",
    log:
        text="results/logs/map_attention/{study}/{model}.log",
        performance="results/performance/map_attention/{study}/{model}.json",
    benchmark:
        "results/performance/map_attention/{study}/{model}.tsv"
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
        " --clips {input.clips:q} --states {input.states:q} --states-shard {input.states_shard:q}"
        " --directions {input.directions:q}"
        " --sample {params.sample} --event {params.position} --threads {threads}"
        " --output {output.attention:q} --performance {log.performance:q} > {log.text:q} 2>&1"
