"""Figures of windows, from tables and cached attention alone: no model is loaded, and one job draws a figure for all models."""


localrules:
    plot_overlap,
    plot_attention_change,
    plot_attention_map,
    plot_reading,
    plot_references,
    plot_specificity,
    plot_studies,
    plot_sweep,
    plot_sweeps,


rule plot_overlap:
    input:
        overlap="results/tables/overlap.csv",
    output:
        **drawn("overlap"),
    log:
        "results/logs/plot_overlap/overlap.log",
    benchmark:
        "results/performance/plot_overlap/overlap.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_overlap"),
        study=CONFIG.figures.overlap,
    shell:
        "python {params.code[0]:q} --table {input.overlap:q} --study {params.study}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_attention_change:
    input:
        unsteered=of_models(unsteered_shards, examples_of(CONFIG.figures.attention_change)),
        steered=of_models(steered_shards, CONFIG.figures.attention_change),
        events=f"results/events/{CONFIG.figures.attention_change}.csv",
    output:
        **drawn("attention_change"),
    log:
        "results/logs/plot_attention_change/attention_change.log",
    benchmark:
        "results/performance/plot_attention_change/attention_change.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_attention_change"),
        models=list(CONFIG.models),
        settings=CONFIG.localization.as_json(),
        method=CONFIG.figures.reading_method,
        direction=READING_DIRECTION,
    shell:
        "python {params.code[0]:q} --models {params.models} --unsteered {input.unsteered:q}"
        " --steered {input.steered:q} --events {input.events:q}"
        " --settings {params.settings:q} --method {params.method} --direction {params.direction:q}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_attention_map:
    input:
        attention=expand("results/maps/{study}/{model}.h5", model=CONFIG.models, study=CONFIG.figures.overlap),
        events=f"results/events/{CONFIG.figures.overlap}.csv",
    output:
        **drawn("attention_map"),
    log:
        "results/logs/plot_attention_map/attention_map.log",
    benchmark:
        "results/performance/plot_attention_map/attention_map.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_attention_map"),
        method=CONFIG.figures.reading_method,
        models=list(CONFIG.models),
        direction=READING_DIRECTION,
    shell:
        "python {params.code[0]:q} --models {params.models} --attention {input.attention:q}"
        " --events {input.events:q} --method {params.method} --direction {params.direction:q}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_reading:
    input:
        unsteered=of_models(unsteered_shards, examples_of(CONFIG.figures.overlap)),
        attention=of_models(event_shards, CONFIG.figures.overlap, CONFIG.figures.reading_position),
        events=f"results/events/{CONFIG.figures.overlap}.csv",
        page=from_repository("workflow_scripts/wheretolisten/page/template.html"),
    output:
        **drawn("reading"),
        html=[
            report(
                f"results/figures/{file}.html",
                caption="report/figure.rst",
                category=figures.FIGURES["reading"].category,
                labels={"item": "One recording, played", "model": model},
            )
            for model, file in figures.FIGURES["reading"].files(CONFIG.models).items()
        ],
    log:
        "results/logs/plot_reading/reading.log",
    benchmark:
        "results/performance/plot_reading/reading.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_reading"),
        models=list(CONFIG.models),
        settings=CONFIG.localization.as_json(),
        sample=CONFIG.figures.reading_sample,
        position=CONFIG.figures.reading_position,
        method=CONFIG.figures.reading_method,
        direction=READING_DIRECTION,
        # Not an input: the figure has no spectrogram where there is no audio.
        audio=f"results/examples/{examples_of(CONFIG.figures.overlap)}",
    shell:
        "python {params.code[0]:q} --models {params.models} --unsteered {input.unsteered:q}"
        " --attention {input.attention:q} --events {input.events:q} --examples-folder {params.audio:q}"
        " --settings {params.settings:q} --sample {params.sample} --position {params.position}"
        " --method {params.method} --direction {params.direction:q}"
        " --pdf {output.pdf:q} --png {output.png:q} --html {output.html:q} > {log:q} 2>&1"


rule plot_references:
    input:
        unsteered=of_models(reading_unsteered),
        steered=of_models(reading_steered),
        events=f"results/events/{CONFIG.figures.overlap}.csv",
    output:
        **drawn("references"),
    log:
        "results/logs/plot_references/references.log",
    benchmark:
        "results/performance/plot_references/references.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_references"),
        models=list(CONFIG.models),
        settings=CONFIG.scoring_settings(CONFIG.figures.overlap).as_json(),
        sample=CONFIG.figures.reading_sample,
        position=CONFIG.figures.reading_position,
    shell:
        "python {params.code[0]:q} --models {params.models} --unsteered {input.unsteered:q}"
        " --steered {input.steered:q} --events {input.events:q} --settings {params.settings:q}"
        " --sample {params.sample} --position {params.position}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_specificity:
    input:
        specificity="results/tables/specificity.csv",
    output:
        **drawn("specificity"),
    log:
        "results/logs/plot_specificity/specificity.log",
    benchmark:
        "results/performance/plot_specificity/specificity.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_specificity"),
        models=list(CONFIG.models),
        study=CONFIG.figures.overlap,
    shell:
        "python {params.code[0]:q} --table {input.specificity:q} --models {params.models}"
        " --study {params.study}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_studies:
    input:
        overlap="results/tables/overlap.csv",
    output:
        **drawn("studies"),
    log:
        "results/logs/plot_studies/studies.log",
    benchmark:
        "results/performance/plot_studies/studies.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_studies"),
        studies=CONFIG.figures.studies,
    shell:
        "python {params.code[0]:q} --table {input.overlap:q} --studies {params.studies}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_sweep:
    input:
        localization="results/scores/{sweep}.csv",
    output:
        table="results/tables/sweeps/{sweep}.csv",
        pdf="results/figures/sweeps/{sweep}.pdf",
        png=report(
            "results/figures/sweeps/{sweep}.png",
            caption="report/figure.rst",
            category=figures.SWEEP.category,
            labels={"item": "{sweep}"},
        ),
    log:
        "results/logs/plot_sweep/{sweep}.log",
    benchmark:
        "results/performance/plot_sweep/{sweep}.tsv"
    wildcard_constraints:
        sweep=one_of([sweep for sweep in CONFIG.sweeps if sweep not in DEFAULT_SWEEPS]),
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_sweep"),
        vary=lambda wildcards: [CONFIG.studies[wildcards.sweep].vary],
        own=lambda wildcards: [CONFIG.sweep_own_value(wildcards.sweep)],
    shell:
        "python {params.code[0]:q} --localization {input.localization:q} --vary {params.vary} --own {params.own:q}"
        " --table {output.table:q} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


# Those of the default run in one job, because starting it is most of the work.
use rule plot_sweep as plot_sweeps with:
    input:
        localization=expand("results/scores/{sweep}.csv", sweep=DEFAULT_SWEEPS),
    output:
        table=expand("results/tables/sweeps/{sweep}.csv", sweep=DEFAULT_SWEEPS),
        pdf=expand("results/figures/sweeps/{sweep}.pdf", sweep=DEFAULT_SWEEPS),
        png=[
            report(
                f"results/figures/sweeps/{sweep}.png",
                caption="report/figure.rst",
                category=figures.SWEEP.category,
                labels={"item": sweep},
            )
            for sweep in DEFAULT_SWEEPS
        ],
    log:
        "results/logs/plot_sweeps/sweeps.log",
    benchmark:
        "results/performance/plot_sweeps/sweeps.tsv"
    params:
        code=code("plot_sweep"),
        # Functions, because prompts may hold braces.
        vary=lambda wildcards: [CONFIG.studies[sweep].vary for sweep in DEFAULT_SWEEPS],
        own=lambda wildcards: [CONFIG.sweep_own_value(sweep) for sweep in DEFAULT_SWEEPS],
