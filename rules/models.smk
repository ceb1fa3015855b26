"""Checkpoints of the model hub. The only rule that uses a network; all other jobs run offline."""


localrules:
    fetch_model,


rule fetch_model:
    output:
        files="results/fetched_models/{model}.json",
    log:
        "results/logs/fetch_models/{model}.log",
    benchmark:
        "results/performance/fetch_models/{model}.tsv"
    # Compute nodes often have no way out.
    conda:
        "../envs/models.yaml"
    params:
        code=code("fetch_models"),
        checkpoint=lambda wildcards: CONFIG.models[wildcards.model].checkpoint,
        revision=lambda wildcards: CONFIG.models[wildcards.model].revision,
    shell:
        "HF_HUB_OFFLINE=0 python {params.code[0]:q} --checkpoint {params.checkpoint:q}"
        " --revision {params.revision:q} --output {output.files:q} > {log:q} 2>&1"
