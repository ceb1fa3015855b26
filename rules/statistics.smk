"""Tables beside the overlap: methods compared on the same queries, and other measures of the same predictions."""


localrules:
    compare_methods,
    tabulate_metrics,


rule compare_methods:
    input:
        localizations=LOCALIZATIONS,
    output:
        comparisons="results/tables/comparisons.csv",
        markdown="results/tables/comparisons.md",
        latex="results/tables/comparisons.tex",
    log:
        "results/logs/compare_methods/comparisons.log",
    benchmark:
        "results/performance/compare_methods/comparisons.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("compare_methods"),
    shell:
        "python {params.code[0]:q} --localization {input.localizations:q}"
        " --comparisons {output.comparisons:q} --markdown {output.markdown:q} --latex {output.latex:q}"
        " > {log:q} 2>&1"


rule tabulate_metrics:
    input:
        localizations=lambda wildcards: LOCALIZATIONS if wildcards.table == "metrics" else UNKNOWN_DURATIONS,
    output:
        metrics="results/tables/{table}.csv",
        markdown="results/tables/{table}.md",
        latex="results/tables/{table}.tex",
    log:
        "results/logs/tabulate_metrics/{table}.log",
    benchmark:
        "results/performance/tabulate_metrics/{table}.tsv"
    wildcard_constraints:
        table="metrics|unknown_duration",
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_metrics"),
    shell:
        "python {params.code[0]:q} --table {wildcards.table}"
        " --localization {input.localizations:q} --metrics {output.metrics:q} --markdown {output.markdown:q}"
        " --latex {output.latex:q} > {log:q} 2>&1"
