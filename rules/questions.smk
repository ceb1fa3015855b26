"""Questions with choices, and how much attention goes to the audio while they are read (Figure 1)."""


localrules:
    compose_questions,


rule compose_questions:
    input:
        events=lambda wildcards: f"results/benchmarks/{CONFIG.questions[wildcards.questions].benchmark}/events.csv",
    output:
        questions="results/questions/{questions}/questions.json",
    log:
        "results/logs/compose_questions/{questions}.log",
    benchmark:
        "results/performance/compose_questions/{questions}.tsv"
    conda:
        "../envs/figures.yaml"
    params:
        code=code("compose_questions"),
        settings=lambda wildcards: CONFIG.question_settings(wildcards.questions).as_json(),
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --events {input.events:q}"
        " --output {output.questions:q} > {log:q} 2>&1"


rule analyze_attention:
    input:
        questions=by_name(question_file),
        audio=by_name(question_audio),
        checkpoint=by_name(checkpoint_files),
    output:
        shares="results/attention/{model}/audio_share/{questions}/{shard}.h5",
    log:
        text="results/logs/analyze_attention/{model}/{questions}/{shard}.log",
        performance="results/performance/analyze_attention/{model}/{questions}/{shard}.json",
    benchmark:
        "results/performance/analyze_attention/{model}/{questions}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=model_mem_mb,
        runtime=time_for(analysis_work),
        gpu=model_gpus,
    params:
        code=code("analyze_attention"),
        settings=lambda wildcards: CONFIG.analysis_settings(wildcards.model, wildcards.questions).as_json(),
        checkpoint=by_digest(checkpoint_files),
        others=by_digest(lambda wildcards: question_file(wildcards) + question_audio(wildcards)),
        questions=lambda wildcards: question_file(wildcards)[0],
        audio=lambda wildcards: question_folder(wildcards.questions),
        first=lambda wildcards: question_range(wildcards.questions, int(wildcards.shard))[0],
        stop=lambda wildcards: question_range(wildcards.questions, int(wildcards.shard))[1],
    shell:
        "python {params.code[0]:q} --settings {params.settings:q} --questions={params.questions:q}"
        " --audio={params.audio:q} --first {params.first} --stop {params.stop} --threads {threads}"
        " --output {output.shares:q} --performance {log.performance:q} > {log.text:q} 2>&1"
