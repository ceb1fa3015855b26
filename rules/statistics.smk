"""Tables beside the overlap: methods compared on the same queries, and other measures of the same predictions."""


rule compare_methods:
    input:
        localizations=LOCALIZATIONS,
        code=code("compare_methods"),
    output:
        comparisons="results/tables/comparisons.csv",
        markdown="results/tables/comparisons.md",
        latex="results/tables/comparisons.tex",
    log:
        "results/logs/compare_methods/comparisons.log",
    benchmark:
        "results/performance/compare_methods/comparisons.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]:q} --localization {input.localizations:q}"
        " --comparisons {output.comparisons:q} --markdown {output.markdown:q} --latex {output.latex:q}"
        " > {log:q} 2>&1"


rule tabulate_metrics:
    input:
        localizations=lambda wildcards: LOCALIZATIONS if wildcards.table == "metrics" else UNKNOWN_DURATIONS,
        code=code("tabulate_metrics"),
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
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]:q} --table {wildcards.table}"
        " --localization {input.localizations:q} --metrics {output.metrics:q} --markdown {output.markdown:q}"
        " --latex {output.latex:q} > {log:q} 2>&1"
