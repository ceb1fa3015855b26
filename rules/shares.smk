"""How much of all attention goes to the audio while questions are read: passes, tables, Figure 1."""


localrules:
    tabulate_audio_share,
    plot_audio_share,


rule analyze_attention:
    input:
        questions=by_name(question_file),
        audio=by_name(question_audio),
        checkpoint=by_name(checkpoint_files),
    output:
        shares="results/passes/{share}/{model}/all/{shard}.h5",
    log:
        text="results/logs/analyze_attention/{share}/{model}/{shard}.log",
        performance="results/performance/analyze_attention/{share}/{model}/{shard}.json",
    benchmark:
        "results/performance/analyze_attention/{share}/{model}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(analysis_work),
        gpu=model_gpus,
    params:
        code=code("analyze_attention"),
        settings=lambda wildcards: CONFIG.share_settings(wildcards.model, wildcards.share).as_json(),
        checkpoint=by_digest(checkpoint_files),
        others=by_digest(lambda wildcards: question_file(wildcards) + question_audio(wildcards)),
        questions=lambda wildcards: question_file(wildcards)[0],
        audio=lambda wildcards: question_folder(wildcards.share),
        first=lambda wildcards: item_range(wildcards.share, int(wildcards.shard))[0],
        stop=lambda wildcards: item_range(wildcards.share, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --questions={params.questions:q}"
        " --audio={params.audio:q} --first {params.first} --stop {params.stop} --threads {threads}"
        " --output {output.shares:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule tabulate_audio_share:
    input:
        shares=[path for study in CONFIG.shares for path in of_models(share_shards, study)],
    output:
        by_layer="results/tables/audio_share.csv",
        second_half="results/tables/audio_share_second_half.csv",
    log:
        "results/logs/tabulate_audio_share/audio_share.log",
    benchmark:
        "results/performance/tabulate_audio_share/audio_share.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_audio_share"),
        # A function, because folders of models may hold braces.
        models=lambda wildcards: json.dumps({name: model.identity for name, model in CONFIG.models.items()}),
    shell:
        "python {params.code[0]:q} --shares {input.shares:q} --models {params.models:q}"
        " --by-layer {output.by_layer:q} --second-half {output.second_half:q} > {log:q} 2>&1"


rule plot_audio_share:
    input:
        table="results/tables/audio_share.csv",
    output:
        **drawn("audio_share"),
    log:
        "results/logs/plot_audio_share/audio_share.log",
    benchmark:
        "results/performance/plot_audio_share/audio_share.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_audio_share"),
        models=list(CONFIG.models),
        study=CONFIG.figures.audio_share,
    shell:
        "python {params.code[0]:q} --table {input.table:q} --models {params.models}"
        " --study {params.study}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
