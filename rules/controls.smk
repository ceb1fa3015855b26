"""Specificity: which event the windows land on, by whose vector steered."""


localrules:
    tabulate_specificity,
    plot_specificity,


rule tabulate_specificity:
    input:
        localizations=[path for path in LOCALIZATIONS if not path.startswith("results/localization/random/")],
    output:
        specificity="results/tables/specificity.csv",
    log:
        "results/logs/tabulate_specificity/specificity.log",
    benchmark:
        "results/performance/tabulate_specificity/specificity.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_specificity"),
        vectors=json.dumps({name: method.vector for name, method in CONFIG.probe.methods.items()}, sort_keys=True),
    shell:
        "python {params.code[0]:q} --localization {input.localizations:q}"
        " --vectors {params.vectors:q} --output {output.specificity:q} > {log:q} 2>&1"


rule plot_specificity:
    input:
        specificity="results/tables/specificity.csv",
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
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_specificity"),
        benchmark=CONFIG.figures.overlap,
    shell:
        "python {params.code[0]:q} --table {input.specificity:q} --model {wildcards.model}"
        " --benchmark {params.benchmark} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
