"""Answers to questions: how likely each choice is under every method, and the heads that listen (docs/listening.md)."""


localrules:
    select_heads,
    tabulate_choices,
    plot_listening,


rule choose_answers:
    input:
        questions=by_name(question_file),
        audio=by_name(question_audio),
        checkpoint=by_name(checkpoint_files),
    output:
        choices="results/choices/{answers}/{model}/methods/{shard}.h5",
    log:
        text="results/logs/choose_answers/{answers}/{model}/methods/{shard}.log",
        performance="results/performance/choose_answers/{answers}/{model}/methods/{shard}.json",
    benchmark:
        "results/performance/choose_answers/{answers}/{model}/methods/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(choosing_work),
        gpu=model_gpus,
    params:
        code=code("choose_answers"),
        settings=lambda wildcards: CONFIG.choice_settings(wildcards.model, wildcards.answers).as_json(),
        checkpoint=by_digest(checkpoint_files),
        others=by_digest(lambda wildcards: question_file(wildcards) + question_audio(wildcards)),
        questions=lambda wildcards: question_file(wildcards)[0],
        audio=lambda wildcards: question_folder(wildcards.answers),
        first=lambda wildcards: item_range(wildcards.answers, int(wildcards.shard))[0],
        stop=lambda wildcards: item_range(wildcards.answers, int(wildcards.shard))[1],
        heads=lambda wildcards, input: f"--heads {input.heads}" if "heads" in input.keys() else "",
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --questions={params.questions:q}"
        " --audio={params.audio:q} --first {params.first} --stop {params.stop} {params.heads} --threads {threads}"
        " --output {output.choices:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule select_heads:
    input:
        choices=lambda wildcards: choice_shards(wildcards.model, wildcards.answers),
        events=lambda wildcards: question_events(wildcards.answers),
    output:
        heads="results/heads/{answers}/{model}.json",
    log:
        "results/logs/select_heads/{answers}/{model}.log",
    benchmark:
        "results/performance/select_heads/{answers}/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("select_heads"),
        choosing=lambda wildcards: CONFIG.studies[wildcards.answers].choosing.as_json(),
        model=lambda wildcards: CONFIG.models[wildcards.model].identity,
    shell:
        "python {params.code[0]:q} --choices {input.choices:q} --events {input.events:q}"
        " --choosing {params.choosing:q} --model {params.model:q} --output {output.heads:q} > {log:q} 2>&1"


use rule choose_answers as steer_by_heads with:
    input:
        questions=by_name(question_file),
        audio=by_name(question_audio),
        checkpoint=by_name(checkpoint_files),
        heads="results/heads/{answers}/{model}.json",
    output:
        choices="results/choices/{answers}/{model}/heads/{shard}.h5",
    log:
        text="results/logs/choose_answers/{answers}/{model}/heads/{shard}.log",
        performance="results/performance/choose_answers/{answers}/{model}/heads/{shard}.json",
    benchmark:
        "results/performance/choose_answers/{answers}/{model}/heads/{shard}.tsv"


rule tabulate_choices:
    input:
        methods=[path for study in CONFIG.choices for path in of_models(choice_shards, study)],
        heads=[path for study in CONFIG.choices for path in of_models(steered_choice_shards, study)],
        selected=[f"results/heads/{study}/{model}.json" for study in CONFIG.choices for model in CONFIG.models],
    output:
        table="results/tables/choices.csv",
        groups="results/tables/choices_by_group.csv",
        areas="results/tables/listening_signal.csv",
        signals="results/choices/signals.csv",
        heads="results/choices/heads.csv",
    log:
        "results/logs/tabulate_choices/choices.log",
    benchmark:
        "results/performance/tabulate_choices/choices.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_choices"),
        # A function, because paths of users may hold braces.
        studies=lambda wildcards: json.dumps(tabulated_choices()),
    shell:
        "python {params.code[0]:q} --studies {params.studies:q} --table {output.table:q} --groups {output.groups:q}"
        " --areas {output.areas:q} --signals {output.signals:q} --heads {output.heads:q} > {log:q} 2>&1"


rule plot_listening:
    input:
        heads="results/choices/heads.csv",
        signals="results/choices/signals.csv",
        areas="results/tables/listening_signal.csv",
    output:
        pdf=[
            "results/figures/listening/{answers}/{model}-heads.pdf",
            "results/figures/listening/{answers}/{model}-signals.pdf",
        ],
        png=[
            report(
                f"results/figures/listening/{{answers}}/{{model}}-{name}.png",
                caption="report/figure.rst",
                category="Answers",
                labels={"item": f"{{answers}}: {name}", "model": "{model}"},
            )
            for name in ("heads", "signals")
        ],
    log:
        "results/logs/plot_listening/{answers}/{model}.log",
    benchmark:
        "results/performance/plot_listening/{answers}/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_listening"),
    shell:
        "python {params.code[0]:q} --heads {input.heads:q} --signals {input.signals:q} --areas {input.areas:q}"
        " --models {wildcards.model} --study {wildcards.answers} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
