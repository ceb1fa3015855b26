"""Tables, from windows and answers, and from the shares of attention that go to the audio."""


localrules:
    tabulate_scores,
    tabulate_audio_share,


rule tabulate_scores:
    input:
        localizations=LOCALIZATIONS,
        unknown_durations=UNKNOWN_DURATIONS,
        detections=DETECTIONS,
        published=from_repository("resources/published_overlap.csv"),
    output:
        tables=table_files(tables.SCORES),
    log:
        "results/logs/tabulate_scores/scores.log",
    benchmark:
        "results/performance/tabulate_scores/scores.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_scores"),
        # Those that query one event and steer with the vector of another one of the recording.
        other_event=[
            name
            for name, method in CONFIG.methods.items()
            if method.steers and CONFIG.direction_of(method).control == "other_event"
        ],
    shell:
        "python {params.code[0]:q} --localizations {input.localizations:q}"
        " --unknown-durations {input.unknown_durations:q} --detections {input.detections:q} --published {input.published:q}"
        " --other-event {params.other_event} --tables results/tables > {log:q} 2>&1"


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
