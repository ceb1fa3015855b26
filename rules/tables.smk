"""Tables, from windows and answers."""


localrules:
    tabulate_scores,
    compare_studies,


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


rule compare_studies:
    input:
        localizations=[
            f"results/scores/{study}/{model}.csv" for model in CONFIG.models for study in CONFIG.figures.studies or ()
        ],
    output:
        table=table_files([tables.STUDIES]),
    log:
        "results/logs/compare_studies/studies.log",
    benchmark:
        "results/performance/compare_studies/studies.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("compare_studies"),
        studies=CONFIG.figures.studies,
    shell:
        "python {params.code[0]:q} --localizations {input.localizations:q} --studies {params.studies}"
        " --output {output.table:q} > {log:q} 2>&1"
