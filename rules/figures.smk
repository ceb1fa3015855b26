"""Figures, from tables and cached attention alone: no model is loaded."""


localrules:
    plot_overlap,
    plot_attention_change,
    plot_attention_map,
    plot_reading,


rule plot_overlap:
    input:
        overlap="results/tables/overlap.csv",
    output:
        pdf="results/figures/overlap.pdf",
        png=report(
            "results/figures/overlap.png",
            caption="report/overlap.rst",
            category="Localization",
            labels={"item": "overlap by position"},
        ),
    log:
        "results/logs/plot_overlap/overlap.log",
    benchmark:
        "results/performance/plot_overlap/overlap.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_overlap"),
        benchmark=CONFIG.figures.overlap,
    shell:
        "python {params.code[0]:q} --table {input.overlap:q} --benchmark {params.benchmark}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_attention_change:
    input:
        unsteered=lambda wildcards: unsteered_shards(wildcards.model, CONFIG.figures.attention_change),
        steered=lambda wildcards: [
            path
            for position in positions_of(CONFIG.figures.attention_change)
            for path in attention_shards(wildcards.model, CONFIG.figures.attention_change, position)
        ],
        events=f"results/localization/events/{CONFIG.figures.attention_change}.csv",
    output:
        pdf="results/figures/attention_change/{model}.pdf",
        png=report(
            "results/figures/attention_change/{model}.png",
            caption="report/attention_change.rst",
            category="Attention",
            labels={"item": "change by steering", "model": "{model}"},
        ),
    log:
        "results/logs/plot_attention_change/{model}.log",
    benchmark:
        "results/performance/plot_attention_change/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_attention_change"),
        settings=CONFIG.probe.localization.as_json(),
        method=CONFIG.figures.reading_vector,
        direction=READING_DIRECTION,
    shell:
        "python {params.code[0]:q} --unsteered {input.unsteered:q}"
        " --steered {input.steered:q}"
        " --events {input.events:q} --model {wildcards.model} --settings {params.settings:q}"
        " --method {params.method} --direction {params.direction:q}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_attention_map:
    input:
        attention=f"results/attention/{{model}}/{CONFIG.figures.overlap}/map.h5",
        events=f"results/localization/events/{CONFIG.figures.overlap}.csv",
    output:
        pdf="results/figures/attention_map/{model}.pdf",
        png=report(
            "results/figures/attention_map/{model}.png",
            caption="report/attention_map.rst",
            category="Attention",
            labels={"item": "map by text token", "model": "{model}"},
        ),
    log:
        "results/logs/plot_attention_map/{model}.log",
    benchmark:
        "results/performance/plot_attention_map/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_attention_map"),
        method=CONFIG.figures.reading_vector,
        direction=READING_DIRECTION,
    shell:
        "python {params.code[0]:q} --attention {input.attention:q} --events {input.events:q}"
        " --method {params.method} --direction {params.direction:q} --model {wildcards.model}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_reading:
    input:
        unsteered=lambda wildcards: unsteered_shards(wildcards.model, CONFIG.figures.overlap),
        attention=lambda wildcards: attention_shards(
            wildcards.model, CONFIG.figures.overlap, CONFIG.figures.reading_position
        ),
        events=f"results/localization/events/{CONFIG.figures.overlap}.csv",
    output:
        pdf="results/figures/reading/{model}.pdf",
        png=report(
            "results/figures/reading/{model}.png",
            caption="report/reading.rst",
            category="Localization",
            labels={"item": "one recording", "model": "{model}"},
        ),
    log:
        "results/logs/plot_reading/{model}.log",
    benchmark:
        "results/performance/plot_reading/{model}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("plot_reading"),
        settings=CONFIG.probe.localization.as_json(),
        sample=CONFIG.figures.reading_sample,
        position=CONFIG.figures.reading_position,
        method=CONFIG.figures.reading_vector,
        direction=READING_DIRECTION,
        # Not an input: the figure has no spectrogram where there is no audio.
        audio=f"results/benchmarks/{CONFIG.figures.overlap}",
    shell:
        "python {params.code[0]:q} --unsteered {input.unsteered:q} --attention {input.attention:q}"
        " --events {input.events:q} --benchmark-folder {params.audio:q} --model {wildcards.model} --settings {params.settings:q}"
        " --sample {params.sample} --position {params.position} --method {params.method} --direction {params.direction:q}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
