"""What `snakemake --report` shows beside figures: a summary of the run, and tables as pages."""

# Tables that the report shows: file in results/tables → category, what it is, and what it shows.
_CLUSTERS = (
    "Intervals are of 95 %; recordings that share a source count as dependent, and n_clusters is the number of independent "
    "clusters that they amount to."
)
_MEASURES = (
    "iou: intersection over union with the true event; hit: IoU of at least 0.5; pointing: the window's centre lies in the "
    "event; onset_error: predicted minus true onset in seconds, and its absolute value. Where windows tie, a query has "
    "their mean; without a prediction it has IoU 0, no hit, no pointing and no onset error (n_missing). Queries for which "
    "a method has no vector are left out (n_without_vector)."
)
REPORTED_TABLES = {
    "overlap.md": (
        "Localization",
        "overlap",
        "How much of each sound the predicted windows cover, by model, method and position of the sound. p_vs_random and "
        "p_vs_direct are sign-flip tests against a randomly drawn window's expectation and against direct prompting, "
        f"Holm-corrected within a benchmark. {_CLUSTERS}",
    ),
    "overlap_by_label.csv": (
        "Localization",
        "overlap by label",
        "How much of each sound the predicted windows cover (overlap_pct, percent of its duration), by its label. lift is "
        "the overlap minus what a window drawn uniformly at random is expected to cover, in percentage points.",
    ),
    "comparisons.md": (
        "Localization",
        "methods compared",
        "Overlap of one method minus overlap of another on the same queries, in percentage points, with Holm-corrected "
        "sign-flip tests (p_holm; the family is one benchmark). effect_size is the mean difference in standard deviations "
        f"of the queries' differences. {_CLUSTERS}",
    ),
    "metrics.md": (
        "Localization",
        "other measures",
        f"The predictions of the overlap table, measured otherwise. {_MEASURES}",
    ),
    "unknown_duration.md": (
        "Localization",
        "unknown durations",
        "Windows found without knowing how long the event lasts, which is not part of the published method. Random is the "
        f"expectation of drawing one of all candidate windows. {_MEASURES}",
    ),
    "specificity.csv": (
        "Controls",
        "where windows land",
        "Share of predicted windows that land on each event of their recording. position is the event that is queried, or, "
        "where reference is steered, the event whose vector steered the query; landed_on is the event of which the window "
        "covers most, none if it covers none or windows tie. n queries count, n_without_vector have no vector of the method.",
    ),
    "audio_share.csv": (
        "Attention",
        "share of the audio by block",
        "Share of all attention that goes to the audio, from 0 to 1, by model, question set, condition and decoder block, "
        "with 95 % intervals over recordings. difference is paired: the same questions under the condition minus "
        "as they are.",
    ),
    "audio_share_second_half.csv": (
        "Attention",
        "share of the audio, second half",
        "As the share by block, averaged over the second half of the blocks.",
    ),
    **{
        f"sweeps/{sweep}.csv": (
            "Sweeps",
            sweep,
            "Overlap in percent where one key of the probe takes other values and everything else stays as in the run.",
        )
        for sweep in CONFIG.sweeps
    },
}
PAGES = [
    "results/report/run.html",
    *(f"results/report/tables/{table}.html" for table in REPORTED_TABLES if f"results/tables/{table}" in TABLES),
]
if CONFIG.rehearsal:
    PAGES = []


localrules:
    summarize_run,
    render_table,


rule summarize_run:
    input:
        localizations=LOCALIZATIONS,
        states=[path for m in CONFIG.models for b in CONFIG.benchmarks for path in state_shards(m, b)],
        attention=[
            path
            for m in CONFIG.models
            for b in CONFIG.benchmarks
            for p in ("unsteered", *positions_of(b))
            for path in attention_shards(m, b, p)
        ],
        maps=expand(
            "results/attention/{model}/{benchmark}/map.h5", model=CONFIG.models, benchmark=CONFIG.figures.overlap
        ),
        shares=[path for m in CONFIG.models for q in CONFIG.questions for path in audio_share_shards(m, q)],
        sweeps=[path for sweep in DEFAULT_SWEEPS for path in swept_shards(sweep)],
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


rule render_table:
    input:
        table="results/tables/{table}",
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
    conda:
        "../envs/figures.yaml"
    params:
        code=code("render_table"),
        about=lambda wildcards: REPORTED_TABLES[wildcards.table][2],
    shell:
        "python {params.code[0]:q} --table {input.table:q} --about {params.about:q} --page {output.page:q}"
        " > {log:q} 2>&1"
