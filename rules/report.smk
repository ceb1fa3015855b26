"""What `snakemake --report` shows beside figures: a summary of the run, and tables as pages."""


localrules:
    summarize_run,
    render_tables,


rule summarize_run:
    input:
        localizations=LOCALIZATIONS,
        unsteered=[path for name in LOCALIZED for path in of_models(unsteered_shards, name)],
        steered=[path for study in CONFIG.localizations for path in of_models(steered_shards, study)],
        maps=MAPS,
        shares=[path for study in CONFIG.shares for path in of_models(share_shards, study)],
        choices=[path for study in CONFIG.choices for path in of_models(choice_shards, study)],
        heads=[path for study in CONFIG.choices for path in of_models(steered_choice_shards, study)],
        sweeps=[path for sweep in DEFAULT_SWEEPS for path in swept_shards(sweep)],
        effects=EFFECT_VALUES,
    output:
        resolved="results/report/config.yaml",
        coverage="results/report/coverage.csv",
        throughput="results/report/throughput.csv",
        origins="results/report/origins.csv",
        page=report(
            "results/report/run.html", caption="report/run.rst", category="Run", labels={"item": "Summary of the run"}
        ),
    log:
        "results/logs/summarize_run/run.log",
    benchmark:
        "results/performance/summarize_run/run.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("summarize_run"),
        # A function, because prompts hold braces.
        config=lambda wildcards: CONFIG.as_json(),
    # Files are found in the folder of results, because thousands of names would not fit into a command. Timings are read
    # where they are there: like logs, they change without the results, and may be left behind.
    shell:
        "python {params.code[0]:q} --config {params.config:q} --localization {input.localizations:q}"
        " --results results --resolved {output.resolved:q} --coverage {output.coverage:q}"
        " --throughput {output.throughput:q} --origins {output.origins:q} --page {output.page:q} > {log:q} 2>&1"


rule render_tables:
    input:
        tables=[f"results/tables/{table.shown}" for table in SHOWN_TABLES],
    output:
        pages=[
            report(
                f"results/report/tables/{table.shown}.html",
                caption="report/table.rst",
                category=table.category,
                labels={"item": table.title},
            )
            for table in SHOWN_TABLES
        ],
    log:
        "results/logs/render_tables/tables.log",
    benchmark:
        "results/performance/render_tables/tables.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("render_tables"),
        names=[table.shown for table in SHOWN_TABLES],
    shell:
        "python {params.code[0]:q} --tables results/tables --names {params.names:q} --pages results/report/tables"
        " > {log:q} 2>&1"
