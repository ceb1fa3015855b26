"""Specificity: which event the windows land on, by whose vector steered."""


rule tabulate_specificity:
    input:
        localizations=[path for path in LOCALIZATIONS if not path.startswith("results/localization/random/")],
        code=code("tabulate_specificity"),
    output:
        specificity="results/tables/specificity.csv",
    log:
        "results/logs/tabulate_specificity/specificity.log",
    benchmark:
        "results/performance/tabulate_specificity/specificity.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        vectors=json.dumps({name: method.vector for name, method in CONFIG.probe.methods.items()}, sort_keys=True),
    shell:
        "python {input.code[0]:q} --localization {input.localizations:q}"
        " --vectors {params.vectors:q} --output {output.specificity:q} > {log:q} 2>&1"


rule plot_specificity:
    input:
        specificity="results/tables/specificity.csv",
        code=code("plot_specificity"),
    output:
        pdf="results/figures/specificity/{model}.pdf",
        png=report(
            "results/figures/specificity/{model}.png",
            caption="report/specificity.rst",
            category="Controls",
            labels={"item": "where windows land", "model": "{model}"},
        ),
    log:
        "results/logs/plot_specificity/{model}.log",
    benchmark:
        "results/performance/plot_specificity/{model}.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        benchmark=CONFIG.figures.overlap,
    shell:
        "python {input.code[0]:q} --table {input.specificity:q} --model {wildcards.model}"
        " --benchmark {params.benchmark} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
