"""How fast the engine is: measured on demand, not part of the default run."""


localrules:
    measure_engine,


rule measure_engine:
    input:
        scripts=[
            from_repository(f"tests/{name}.py")
            for name in ("benchmark/measure_engine", "benchmark/peers", "benchmark/work", "engine/oracle")
        ],
    output:
        figures="results/performance/engine.json",
    log:
        "results/logs/measure_engine.log",
    benchmark:
        "results/performance/measure_engine.tsv"
    conda:
        "../envs/models.yaml"
    params:
        code=code("extract_activations"),
    shell:
        "scripts=$(dirname {params.code[0]:q}); PYTHONPATH=$scripts:$scripts/.. python {input.scripts[0]:q}"
        " --output {output.figures:q} > {log:q} 2>&1"
