"""What steering does to the answers of text models: every arm of a study, tables, figures (docs/studies/README.md)."""


localrules:
    tabulate_effects,
    tabulate_robustness,
    plot_effects,
    plot_decay,


rule steer_texts:
    input:
        tables=by_name(effect_files),
        checkpoint=by_name(checkpoint_files),
    output:
        effects="results/effects/{effects}/{model}.csv",
        origin="results/effects/{effects}/{model}.json",
    log:
        text="results/logs/steer_texts/{effects}/{model}.log",
        performance="results/performance/steer_texts/{effects}/{model}.json",
    benchmark:
        "results/performance/steer_texts/{effects}/{model}.tsv"
    wildcard_constraints:
        effects=one_of(CONFIG.effects),
    conda:
        "../envs/models.yaml"
    threads: 2
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(effects_work),
        gpu=model_gpus,
    params:
        code=code("steer_texts"),
        settings=lambda wildcards: CONFIG.effect_settings(wildcards.model, wildcards.effects).as_json(),
        tables=by_digest(effect_files),
        checkpoint=by_digest(checkpoint_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --threads {threads}"
        " --output {output.effects:q} --origin {output.origin:q} --performance {log.performance:q}"
        " > {log.text:q} 2>&1"


use rule steer_texts as unlearn_facts with:
    log:
        text="results/logs/unlearn_facts/{effects}/{model}.log",
        performance="results/performance/unlearn_facts/{effects}/{model}.json",
    benchmark:
        "results/performance/unlearn_facts/{effects}/{model}.tsv"
    wildcard_constraints:
        effects=one_of(CONFIG.unlearnings),
    resources:
        mem_mb=taught_mem_mb,
        runtime=doubled(120),
        gpu=model_gpus,
    params:
        code=code("unlearn_facts"),
        settings=lambda wildcards: CONFIG.unlearning_settings(wildcards.model, wildcards.effects).as_json(),


use rule steer_texts as interrupt_streams with:
    log:
        text="results/logs/interrupt_streams/{effects}/{model}.log",
        performance="results/performance/interrupt_streams/{effects}/{model}.json",
    benchmark:
        "results/performance/interrupt_streams/{effects}/{model}.tsv"
    wildcard_constraints:
        effects=one_of(CONFIG.interruptions),
    threads: 1
    resources:
        mem_mb=model_mem_mb,
        runtime=doubled(60),
        gpu=model_gpus,
    params:
        code=code("interrupt_streams"),
        settings=lambda wildcards: CONFIG.interruption_settings(wildcards.model, wildcards.effects).as_json(),


rule tabulate_effects:
    input:
        effects=EFFECT_VALUES,
    output:
        table="results/tables/effects.csv",
        overview="results/tables/effects_overview.csv",
    log:
        "results/logs/tabulate_effects/effects.log",
    benchmark:
        "results/performance/tabulate_effects/effects.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_effects"),
        studies=json.dumps(tabulated_effects()),
    shell:
        "python {params.code[0]:q} --studies {params.studies:q} --table {output.table:q}"
        " --overview {output.overview:q} > {log:q} 2>&1"


rule tabulate_robustness:
    input:
        effects=[path for study in CONFIG.effects for path in tabulated_effects()[study].values()],
    output:
        additivity="results/tables/additivity.csv",
        breaking="results/tables/breaking.csv",
        decay="results/tables/decay.csv",
        transfer="results/tables/transfer.csv",
    log:
        "results/logs/tabulate_robustness/robustness.log",
    benchmark:
        "results/performance/tabulate_robustness/robustness.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("tabulate_robustness"),
        studies=json.dumps({study: tabulated_effects()[study] for study in CONFIG.effects}),
        sums=json.dumps({name: study.effects.sums for name, study in CONFIG.effects.items()}),
        limits=json.dumps(
            {name: study.effects.limits for name, study in CONFIG.effects.items() if study.effects.every_strength}
        ),
    shell:
        "python {params.code[0]:q} --studies {params.studies:q} --sums {params.sums:q} --limits {params.limits:q}"
        " --additivity {output.additivity:q} --breaking {output.breaking:q} --decay {output.decay:q}"
        " --transfer {output.transfer:q} > {log:q} 2>&1"


rule plot_effects:
    input:
        table="results/tables/effects.csv",
    output:
        pdf="results/figures/effects/{effects}/{model}.pdf",
        png=report(
            "results/figures/effects/{effects}/{model}.png",
            caption="report/figure.rst",
            category="Effects",
            labels={"item": "{effects}", "model": "{model}"},
        ),
    log:
        "results/logs/plot_effects/{effects}/{model}.log",
    benchmark:
        "results/performance/plot_effects/{effects}/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_effects"),
    shell:
        "python {params.code[0]:q} --table {input.table:q} --models {wildcards.model} --study {wildcards.effects}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_decay:
    input:
        table="results/tables/decay.csv",
    output:
        pdf="results/figures/decay/{effects}/{model}.pdf",
        png=report(
            "results/figures/decay/{effects}/{model}.png",
            caption="report/figure.rst",
            category="Effects",
            labels={"item": "{effects}, along answers", "model": "{model}"},
        ),
    log:
        "results/logs/plot_decay/{effects}/{model}.log",
    benchmark:
        "results/performance/plot_decay/{effects}/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_decay"),
    shell:
        "python {params.code[0]:q} --table {input.table:q} --models {wildcards.model} --study {wildcards.effects}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
