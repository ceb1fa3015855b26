"""Training of the tiny models that are shipped in resources/."""


rule train_tiny_model:
    output:
        card="results/tiny_models/{tiny_model}/README.md",
        scores="results/tiny_models/{tiny_model}/scores.json",
        weights="results/tiny_models/{tiny_model}/model.safetensors",
    log:
        "results/logs/train_tiny_models/{tiny_model}.log",
    benchmark:
        "results/performance/train_tiny_models/{tiny_model}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(8000),
        runtime=doubled(120),
    params:
        code=code("train_tiny_models"),
        family=lambda wildcards: TINY_MODELS[wildcards.tiny_model],
        folder=subpath(output.card, parent=True),
    shell:
        "python {params.code[0]:q} --model {params.family} --output {params.folder:q} > {log:q} 2>&1"
