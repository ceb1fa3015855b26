"""The probe with one key changed, value by value. A sweep that needs no passes of its own starts at score_sweep."""


localrules:
    score_sweep,
    plot_sweep,
    plot_sweeps,


rule sweep_attention:
    input:
        unpack(sweep_inputs),
        checkpoint=by_name(checkpoint_files),
    output:
        attention="results/attention/{model}/sweeps/{sweep}/{shard}.h5",
    log:
        text="results/logs/sweep_attention/{model}/{sweep}/{shard}.log",
        performance="results/performance/sweep_attention/{model}/{sweep}/{shard}.json",
    benchmark:
        "results/performance/sweep_attention/{model}/{sweep}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(sweep_work),
        gpu=model_gpus,
    params:
        code=code("steer_attention"),
        settings=lambda wildcards: CONFIG.sweep_settings(wildcards.sweep, wildcards.model).as_json(),
        checkpoint=by_digest(checkpoint_files),
        samples=lambda wildcards: CONFIG.sweep_samples(wildcards.sweep)[int(wildcards.shard)],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --shard {input.shard:q}"
        " --samples {params.samples} --states {input.states:q} --directions {input.directions:q}"
        " --all-events --threads {threads} --output {output.attention:q} --performance {log.performance:q} > {log.text:q} 2>&1"


rule score_sweep:
    input:
        unpack(sweep_files),
        events=lambda wildcards: f"results/localization/events/{CONFIG.sweep_benchmark(wildcards.sweep)}.csv",
    output:
        localization="results/localization/sweeps/{sweep}.csv",
    log:
        "results/logs/score_sweep/{sweep}.log",
    benchmark:
        "results/performance/score_sweep/{sweep}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("score_sweep"),
        settings=lambda wildcards: CONFIG.score_settings(wildcards.sweep).as_json(),
        models=lambda wildcards: CONFIG.sweep_models(wildcards.sweep),
        identities=lambda wildcards: [CONFIG.models[m].identity for m in CONFIG.sweep_models(wildcards.sweep)],
        benchmark=lambda wildcards: CONFIG.sweep_benchmark(wildcards.sweep),
        samples=lambda wildcards: sum(CONFIG.sweep_samples(wildcards.sweep).values()),
        direction=lambda wildcards: direction_of(CONFIG.sweeps[wildcards.sweep].method),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --sweep {wildcards.sweep}"
        " --models {params.models} --identities {params.identities:q} --benchmark {params.benchmark}"
        " --samples {params.samples} --shards {input.shards:q} --events {input.events:q} --direction {params.direction:q}"
        " --attention {input.attention:q}"
        " --of-run {input.of_run:q}"
        " --output {output.localization:q} > {log:q} 2>&1"


rule plot_sweep:
    input:
        localization="results/localization/sweeps/{sweep}.csv",
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
        vary=lambda wildcards: [CONFIG.sweeps[wildcards.sweep].vary],
        own=lambda wildcards: [CONFIG.sweep_own_value(wildcards.sweep)],
    shell:
        "python {params.code[0]:q} --localization {input.localization:q} --vary {params.vary} --own {params.own:q}"
        " --table {output.table:q} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


# Those of the default run in one job, because starting it is most of the work.
use rule plot_sweep as plot_sweeps with:
    input:
        localization=expand("results/localization/sweeps/{sweep}.csv", sweep=DEFAULT_SWEEPS),
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
        vary=lambda wildcards: [CONFIG.sweeps[sweep].vary for sweep in DEFAULT_SWEEPS],
        own=lambda wildcards: [CONFIG.sweep_own_value(sweep) for sweep in DEFAULT_SWEEPS],
