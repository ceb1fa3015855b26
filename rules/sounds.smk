"""Clips of labelled sounds, at 16 kHz mono."""


rule prepare_clips:
    input:
        files=by_name(sound_files),
    output:
        clips="results/sounds/{sounds}/clips.csv",
        audio=directory("results/sounds/{sounds}/audio"),
    log:
        "results/logs/prepare_clips/{sounds}.log",
    benchmark:
        "results/performance/prepare_clips/{sounds}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(60),
    params:
        code=code("prepare_clips"),
        settings=lambda wildcards: CONFIG.sounds[wildcards.sounds].as_json(),
        others=by_digest(sound_files),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q}"
        " --clips {output.clips:q} --audio {output.audio:q} > {log:q} 2>&1"
