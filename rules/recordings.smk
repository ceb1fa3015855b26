"""Recordings of one's own: which sounds are heard in them, and where."""


localrules:
    tabulate_intervals,


rule listen_recordings:
    input:
        recordings=by_name(recording_files),
        checkpoint=by_name(checkpoint_files),
    output:
        intervals="results/intervals/{listening}/{model}/{shard}.csv",
    log:
        text="results/logs/listen_recordings/{listening}/{model}/{shard}.log",
        performance="results/performance/listen_recordings/{listening}/{model}/{shard}.json",
    benchmark:
        "results/performance/listen_recordings/{listening}/{model}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(listening_work),
        gpu=model_gpus,
    params:
        code=code("listen_recordings"),
        settings=lambda wildcards: CONFIG.listening_settings(wildcards.model, wildcards.listening).as_json(),
        recordings=by_digest(recording_files),
        checkpoint=by_digest(checkpoint_files),
        first=lambda wildcards: item_range(wildcards.listening, int(wildcards.shard))[0],
        stop=lambda wildcards: item_range(wildcards.listening, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --first {params.first} --stop {params.stop}"
        " --threads {threads} --output {output.intervals:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule tabulate_intervals:
    input:
        intervals=[path for study in CONFIG.intervals for path in of_models(interval_shards, study)],
    output:
        table=table_files(tables.INTERVALS),
        scores=table_files(tables.SOUND_EVENTS if SCORED_INTERVALS else ()),
    log:
        "results/logs/tabulate_intervals/intervals.log",
    benchmark:
        "results/performance/tabulate_intervals/intervals.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_intervals"),
        # A function, because paths of users may hold braces.
        known=lambda wildcards: json.dumps(
            {study: CONFIG.examples_of(study).model_dump(mode="json") for study in SCORED_INTERVALS}
        ),
    shell:
        "python {params.code[0]:q} --intervals {input.intervals:q} --known {params.known:q}"
        " --table {output.table:q} --scores {output.scores:q} > {log:q} 2>&1"
