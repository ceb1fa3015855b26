"""Checkpoints that are fetched or converted. fetch_model alone uses a network; all other jobs run offline."""


localrules:
    fetch_model,
    tabulate_checks,
    convert_smollm2,
    convert_small_qwen2_audio,
    convert_held_out_small_qwen2_audio,


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


rule check_model:
    input:
        checkpoint=by_name(checkpoint_files),
    output:
        agreement="results/checks/{model}.json",
    log:
        "results/logs/check_model/{model}.log",
    benchmark:
        "results/performance/check_model/{model}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=doubled(30),
        gpu=model_gpus,
    params:
        code=code("check_model"),
        settings=lambda wildcards: CONFIG.models[wildcards.model].as_json(),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --model {wildcards.model} --settings {params.settings:q}"
        " --output {output.agreement:q} > {log:q} 2>&1"


rule tabulate_checks:
    input:
        checks=expand("results/checks/{model}.json", model=CONFIG.models),
    output:
        table="results/checks/models.csv",
    log:
        "results/logs/tabulate_checks/checks.log",
    benchmark:
        "results/performance/tabulate_checks/checks.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_checks"),
    # The table itself goes to the screen, too.
    shell:
        "python {params.code[0]:q} --checks {input.checks:q} --table {output.table:q} 2> {log:q}"


rule convert_smollm2:
    output:
        weights="results/checkpoints/smollm2-135m-instruct/model.safetensors",
        card="results/checkpoints/smollm2-135m-instruct/README.md",
    log:
        "results/logs/convert_smollm2/smollm2-135m-instruct.log",
    benchmark:
        "results/performance/convert_smollm2/smollm2-135m-instruct.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(30),
    params:
        code=code("convert_smollm2"),
        folder=subpath(output.card, parent=True),
    shell:
        # Progress bars would fill the log with control characters.
        "TQDM_DISABLE=1 python {params.code[0]:q} --output {params.folder:q} > {log:q} 2>&1"


rule convert_small_qwen2_audio:
    input:
        language_model=rules.convert_smollm2.output.weights,
        projector=from_repository("resources/small-qwen2-audio/projector.safetensors"),
    output:
        weights="results/checkpoints/small-qwen2-audio/model.safetensors",
        card="results/checkpoints/small-qwen2-audio/README.md",
    log:
        "results/logs/convert_small_qwen2_audio/small-qwen2-audio.log",
    benchmark:
        "results/performance/convert_small_qwen2_audio/small-qwen2-audio.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(30),
    params:
        code=code("convert_small_qwen2_audio"),
        language_model=subpath(input.language_model, parent=True),
        folder=subpath(output.card, parent=True),
    shell:
        "TQDM_DISABLE=1 python {params.code[0]:q} --language-model {params.language_model:q}"
        " --projector {input.projector:q} --output {params.folder:q} > {log:q} 2>&1"


# The same ears without the fold of recordings that scores are of.
use rule convert_small_qwen2_audio as convert_held_out_small_qwen2_audio with:
    input:
        language_model=rules.convert_smollm2.output.weights,
        projector=from_repository("resources/small-qwen2-audio/held_out.safetensors"),
    output:
        weights="results/checkpoints/small-qwen2-audio-held-out/model.safetensors",
        card="results/checkpoints/small-qwen2-audio-held-out/README.md",
    log:
        "results/logs/convert_held_out_small_qwen2_audio/small-qwen2-audio.log",
    benchmark:
        "results/performance/convert_held_out_small_qwen2_audio/small-qwen2-audio.tsv"
