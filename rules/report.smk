"""What `snakemake --report` shows beside figures: a summary of the run, and tables as pages."""


rule summarize_run:
    input:
        localizations=LOCALIZATIONS,
        activations=[path for m in CONFIG.models for b in CONFIG.benchmarks for path in activation_shards(m, b)],
        attention=[
            path
            for m in CONFIG.models
            for b in CONFIG.benchmarks
            for p in POSITIONS
            for path in attention_shards(m, b, p)
        ],
        maps=expand(
            "results/attention/{model}/{benchmark}/map.h5", model=CONFIG.models, benchmark=CONFIG.figures.overlap
        ),
        shares=[path for m in CONFIG.models for q in CONFIG.questions for path in audio_share_shards(m, q)],
        sweeps=[path for sweep in DEFAULT_SWEEPS for path in swept_shards(sweep)],
        code=code("summarize_run"),
    output:
        resolved="results/report/config.yaml",
        coverage="results/report/coverage.csv",
        throughput="results/report/throughput.csv",
        origins="results/report/origins.csv",
        page=report(
            "results/report/run.html", caption="report/run.rst", category="Run", labels={"item": "summary of the run"}
        ),
    log:
        "results/logs/summarize_run/run.log",
    benchmark:
        "results/performance/summarize_run/run.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        # A function, because prompts hold braces.
        config=lambda wildcards: CONFIG.as_json(),
    # Files are found in the folder of results, because thousands of names would not fit into a command. Timings are read
    # where they are there: like logs, they change without the results, and may be left behind.
    shell:
        "python workflow_scripts/summarize_run.py --config {params.config:q} --localization {input.localizations:q}"
        " --results results --resolved {output.resolved:q} --coverage {output.coverage:q}"
        " --throughput {output.throughput:q} --origins {output.origins:q} --page {output.page:q} > {log:q} 2>&1"


rule render_table:
    input:
        table="results/tables/{table}",
        code=code("render_table"),
    output:
        page=report(
            "results/report/tables/{table}.html",
            caption="report/table.rst",
            category=lambda wildcards: REPORTED_TABLES[wildcards.table][0],
            labels=lambda wildcards: {"item": REPORTED_TABLES[wildcards.table][1]},
        ),
    log:
        "results/logs/render_table/{table}.log",
    benchmark:
        "results/performance/render_table/{table}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        about=lambda wildcards: REPORTED_TABLES[wildcards.table][2],
    shell:
        "python workflow_scripts/render_table.py --table {input.table:q} --about {params.about:q} --page {output.page:q}"
        " > {log:q} 2>&1"
