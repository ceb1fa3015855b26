"""Checkpoints of the model hub. The only rule that uses a network; all other jobs run offline."""


rule fetch_model:
    input:
        code=code("fetch_models"),
    output:
        files="results/fetched_models/{model}.json",
    log:
        "results/logs/fetch_models/{model}.log",
    benchmark:
        "results/performance/fetch_models/{model}.tsv"
    # Compute nodes often have no way out.
    localrule: True
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        checkpoint=lambda wildcards: CONFIG.models[wildcards.model].checkpoint,
        revision=lambda wildcards: CONFIG.models[wildcards.model].revision,
    shell:
        "HF_HUB_OFFLINE=0 python {input.code[0]:q} --checkpoint {params.checkpoint:q}"
        " --revision {params.revision:q} --output {output.files:q} > {log:q} 2>&1"
