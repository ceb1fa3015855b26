"""Tables: overlap by model, method and position, and by label."""


localrules:
    tabulate_overlap,


rule tabulate_overlap:
    input:
        localizations=LOCALIZATIONS,
        published=from_repository("resources/published_overlap.csv"),
    output:
        overlap="results/tables/overlap.csv",
        by_label="results/tables/overlap_by_label.csv",
        markdown="results/tables/overlap.md",
        latex="results/tables/overlap.tex",
    log:
        "results/logs/tabulate_overlap/overlap.log",
    benchmark:
        "results/performance/tabulate_overlap/overlap.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_overlap"),
    shell:
        "python {params.code[0]:q} --localization {input.localizations:q}"
        " --published {input.published:q} --overlap {output.overlap:q} --by-label {output.by_label:q}"
        " --markdown {output.markdown:q} --latex {output.latex:q} > {log:q} 2>&1"
