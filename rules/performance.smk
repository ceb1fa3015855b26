"""How fast the engine is: measured on demand, not part of the default run."""


rule measure_engine:
    input:
        scripts=["tests/benchmark/measure_engine.py", "tests/benchmark/work.py", "tests/engine/oracle.py"],
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
        "PYTHONPATH=workflow_scripts python -m tests.benchmark.measure_engine --output {output.figures:q} > {log:q} 2>&1"
