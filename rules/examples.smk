"""Examples: sequences of sounds, whose shards depend on their own samples only, and questions about them."""


localrules:
    compose_symbols,
    collect_sequences,
    compose_questions,


rule compose_sequences:
    input:
        clips=lambda wildcards: f"results/sounds/{CONFIG.examples[wildcards.examples].sounds}/clips.csv",
    output:
        shard="results/examples/{examples}/shards/{shard}.csv",
        audio=directory("results/examples/{examples}/audio/{shard}"),
    log:
        "results/logs/compose_sequences/{examples}/{shard}.log",
    benchmark:
        "results/performance/compose_sequences/{examples}/{shard}.tsv"
    wildcard_constraints:
        examples=one_of([name for name in CONFIG.sequences if name not in SYMBOLIC + PERTURBED]),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(30),
    params:
        code=code("compose_sequences"),
        settings=lambda wildcards: CONFIG.examples[wildcards.examples].composition.as_json(),
        first=lambda wildcards: CONFIG.shard_range(wildcards.examples, int(wildcards.shard))[0],
        stop=lambda wildcards: CONFIG.shard_range(wildcards.examples, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --clips {input.clips:q}"
        " --first {params.first} --stop {params.stop} --shard {output.shard:q} --audio {output.audio:q}"
        " > {log:q} 2>&1"


# The same, with noise that moves a model's windows.
rule perturb_sequences:
    input:
        clips=lambda wildcards: f"results/sounds/{CONFIG.examples[wildcards.examples].sounds}/clips.csv",
        checkpoint=by_name(perturbed_model_files),
    output:
        shard="results/examples/{examples}/shards/{shard}.csv",
        audio=directory("results/examples/{examples}/audio/{shard}"),
    log:
        "results/logs/perturb_sequences/{examples}/{shard}.log",
    benchmark:
        "results/performance/perturb_sequences/{examples}/{shard}.tsv"
    wildcard_constraints:
        examples=one_of(PERTURBED),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=perturbed_mem_mb,
        runtime=time_for(perturbing_work),
        gpu=perturbed_gpus,
    params:
        code=code("perturb_sequences"),
        settings=lambda wildcards: CONFIG.perturbing_settings(wildcards.examples).as_json(),
        checkpoint=by_digest(perturbed_model_files),
        first=lambda wildcards: CONFIG.shard_range(wildcards.examples, int(wildcards.shard))[0],
        stop=lambda wildcards: CONFIG.shard_range(wildcards.examples, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --clips {input.clips:q}"
        " --first {params.first} --stop {params.stop} --threads {threads} --shard {output.shard:q} --audio {output.audio:q}"
        " > {log:q} 2>&1"


# The same tables, without audio.
rule compose_symbols:
    input:
        clips=lambda wildcards: f"results/sounds/{CONFIG.examples[wildcards.examples].sounds}/clips.csv",
    output:
        shard="results/examples/{examples}/shards/{shard}.csv",
    log:
        "results/logs/compose_symbols/{examples}/{shard}.log",
    benchmark:
        "results/performance/compose_symbols/{examples}/{shard}.tsv"
    wildcard_constraints:
        examples=one_of(SYMBOLIC),
    conda:
        "../envs/models.yaml"
    params:
        code=code("compose_sequences"),
        settings=lambda wildcards: CONFIG.examples[wildcards.examples].composition.as_json(),
        first=lambda wildcards: CONFIG.shard_range(wildcards.examples, int(wildcards.shard))[0],
        stop=lambda wildcards: CONFIG.shard_range(wildcards.examples, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --clips {input.clips:q}"
        " --first {params.first} --stop {params.stop} --shard {output.shard:q} > {log:q} 2>&1"


rule collect_sequences:
    input:
        shards=lambda wildcards: example_shards(wildcards.examples),
    output:
        samples="results/examples/{examples}/samples.csv",
        events="results/examples/{examples}/events.csv",
    log:
        "results/logs/collect_sequences/{examples}.log",
    benchmark:
        "results/performance/collect_sequences/{examples}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("collect_sequences"),
    shell:
        "python {params.code[0]:q} --shards {input.shards:q}"
        " --samples {output.samples:q} --events {output.events:q} > {log:q} 2>&1"


rule compose_questions:
    input:
        events=lambda wildcards: f"results/examples/{CONFIG.examples[wildcards.questions].about}/events.csv",
    output:
        questions="results/examples/{questions}/questions.json",
    log:
        "results/logs/compose_questions/{questions}.log",
    benchmark:
        "results/performance/compose_questions/{questions}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("compose_questions"),
        settings=lambda wildcards: CONFIG.question_settings(wildcards.questions).as_json(),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --events {input.events:q}"
        " --output {output.questions:q} > {log:q} 2>&1"
