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
        # Those that query one event and steer with the vector of another one of the recording.
        other_event=[
            name
            for name, method in CONFIG.probe.methods.items()
            if CONFIG.probe.direction_of(method).control == "other_event"
        ],
    shell:
        "python {params.code[0]:q} --localization {input.localizations:q}"
        " --other-event {params.other_event} --output {output.specificity:q} > {log:q} 2>&1"


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
