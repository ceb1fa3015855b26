"""How fast the engine is: measured on demand, not part of the default run."""


rule measure_engine:
    input:
        scripts=[
            from_repository(f"tests/{name}.py")
            for name in ("benchmark/measure_engine", "benchmark/peers", "benchmark/work", "engine/oracle")
        ],
        code=code("extract_activations"),
    output:
        figures="results/performance/engine.json",
    log:
        "results/logs/measure_engine.log",
    benchmark:
        "results/performance/measure_engine.tsv"
    localrule: True
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    shell:
        "scripts=$(dirname {input.code[0]:q}); PYTHONPATH=$scripts:$scripts/.. python -m tests.benchmark.measure_engine"
        " --output {output.figures:q} > {log:q} 2>&1"
