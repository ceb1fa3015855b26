"""Tables: overlap by model, method and position, and by label."""


rule tabulate_overlap:
    input:
        localizations=LOCALIZATIONS,
        published=from_repository("resources/published_overlap.csv"),
        code=code("tabulate_overlap"),
    output:
        overlap="results/tables/overlap.csv",
        by_label="results/tables/overlap_by_label.csv",
        markdown="results/tables/overlap.md",
        latex="results/tables/overlap.tex",
    log:
        "results/logs/tabulate_overlap/overlap.log",
    benchmark:
        "results/performance/tabulate_overlap/overlap.tsv"
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]:q} --localization {input.localizations:q}"
        " --published {input.published:q} --overlap {output.overlap:q} --by-label {output.by_label:q}"
        " --markdown {output.markdown:q} --latex {output.latex:q} > {log:q} 2>&1"
