"""Clips of labelled sounds, at 16 kHz mono."""


rule prepare_clips:
    input:
        files=by_name(library_files),
    output:
        clips="results/clips/{library}/clips.csv",
        audio=directory("results/clips/{library}/audio"),
    log:
        "results/logs/prepare_clips/{library}.log",
    benchmark:
        "results/performance/prepare_clips/{library}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(60),
    params:
        code=code("prepare_clips"),
        settings=lambda wildcards: CONFIG.libraries[wildcards.library].as_json(),
        others=by_digest(library_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q}"
        " --clips {output.clips:q} --audio {output.audio:q} > {log:q} 2>&1"
