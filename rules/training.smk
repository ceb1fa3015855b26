"""Training of the tiny models that are shipped in resources/, and of one that a study makes for itself."""


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


rule train_tiny_duplex:
    input:
        dialogues=from_repository("resources/studies/dialogues.csv"),
    output:
        weights="results/checkpoints/tiny-duplex/model.safetensors",
        card="results/checkpoints/tiny-duplex/README.md",
    log:
        "results/logs/train_tiny_duplex/tiny-duplex.log",
    benchmark:
        "results/performance/train_tiny_duplex/tiny-duplex.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(30),
    params:
        code=code("train_tiny_duplex"),
        folder=subpath(output.card, parent=True),
    shell:
        "TQDM_DISABLE=1 python {params.code[0]:q} --dialogues {input.dialogues:q} --output {params.folder:q}"
        " > {log:q} 2>&1"
