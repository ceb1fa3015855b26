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
        activations=lambda wildcards: activation_shards(wildcards.model, CONFIG.figures.attention_change),
        begin=lambda wildcards: attention_shards(wildcards.model, CONFIG.figures.attention_change, "begin"),
        middle=lambda wildcards: attention_shards(wildcards.model, CONFIG.figures.attention_change, "middle"),
        end=lambda wildcards: attention_shards(wildcards.model, CONFIG.figures.attention_change, "end"),
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
        vector=CONFIG.probe.methods[CONFIG.figures.reading_vector].vector,
    shell:
        "python {params.code[0]:q} --activations {input.activations:q}"
        " --attention-begin {input.begin:q} --attention-middle {input.middle:q} --attention-end {input.end:q}"
        " --events {input.events:q} --model {wildcards.model} --settings {params.settings:q}"
        " --method {params.method} --vector {params.vector}"
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
        vector=CONFIG.probe.methods[CONFIG.figures.reading_vector].vector,
    shell:
        "python {params.code[0]:q} --attention {input.attention:q} --events {input.events:q}"
        " --vector {params.vector} --model {wildcards.model} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule plot_reading:
    input:
        activations=lambda wildcards: activation_shards(wildcards.model, CONFIG.figures.overlap),
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
        vector=CONFIG.probe.methods[CONFIG.figures.reading_vector].vector,
        # Not an input: the figure has no spectrogram where there is no audio.
        audio=f"results/benchmarks/{CONFIG.figures.overlap}",
    shell:
        "python {params.code[0]:q} --activations {input.activations:q} --attention {input.attention:q}"
        " --events {input.events:q} --benchmark-folder {params.audio:q} --model {wildcards.model} --settings {params.settings:q}"
        " --sample {params.sample} --position {params.position} --method {params.method} --vector {params.vector}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
