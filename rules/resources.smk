"""What jobs ask for: memory, time and GPUs, from the work that they do."""


def model_folder(name):
    model = CONFIG.models[name]
    if model.revision:
        return cache.snapshot_folder(model.checkpoint, model.revision)
    return Path(from_repository(model.checkpoint))


def model_mem_mb(wildcards, attempt):
    return memory_of(wildcards.model, attempt)


def memory_of(name, attempt):
    model = CONFIG.models[name]
    return sizing.memory_mb(sizing.weight_bytes(model_folder(name), model.dtype, model.device), attempt)


def perturbed_mem_mb(wildcards, attempt):
    # Of all blocks, what gradients are computed from.
    model = CONFIG.examples[wildcards.examples].perturbation.against
    return sizing.doubled(2000, attempt) if model is None else 2 * memory_of(model, attempt)


def perturbed_gpus(wildcards):
    model = CONFIG.examples[wildcards.examples].perturbation.against
    return 0 if model is None else sizing.gpus(CONFIG.models[model].device)


def taught_mem_mb(wildcards, attempt):
    # Weights, gradients, and two moments of each; for reinforcement the weights three times more.
    reinforced = CONFIG.studies[wildcards.effects].unlearning.reinforce is not None
    return (7 if reinforced else 4) * model_mem_mb(wildcards, attempt)


def samples_of(examples, shard):
    """Number and longest duration (s) of a shard's samples."""
    first, stop = CONFIG.shard_range(examples, int(shard))
    return stop - first, CONFIG.longest_seconds(examples)


def perturbing_work(wildcards):
    # A gradient costs as much as two passes beside its own.
    settings, events = CONFIG.perturbing_settings(wildcards.examples), positions_of(wildcards.examples)
    n_gradients = 0 if settings.model is None else 3 * (settings.perturbation.steps + 1)
    n_prompts = n_gradients * (len(events) + settings.localization.n_absent)
    return sizing.Work(*samples_of(wildcards.examples, wildcards.shard), n_gradients, n_prompts)


def extraction_work(wildcards):
    # The recording and, for some states, silence of its length.
    settings = CONFIG.unsteered_settings(wildcards.model, wildcards.examples)
    states, n_events = settings.states.values(), len(positions_of(wildcards.examples))
    n_prompts = sum(n_events + each.absent if each.about == "event" else 1 for each in settings.passes)
    n_prompts += sum(n_events + state.absent if state.of_event else 1 for state in states)
    n_heard = 1 + any(state.heard == "silence" for state in states)
    return sizing.Work(*samples_of(wildcards.examples, wildcards.shard), n_heard, n_prompts)


def answers_work(wildcards):
    n_events = len(positions_of(wildcards.examples))
    samples = samples_of(wildcards.examples, wildcards.shard)
    return sizing.Work(*samples, 1, n_events, CONFIG.direct_prompt.max_new_tokens)


def steering_work(wildcards):
    passes = CONFIG.steered_passes(wildcards.study)
    absent, together = sum(each.absent for each in passes), wildcards.study in TOGETHER + TOGETHER_WITHOUT_ABSENT
    n_passes = len(passes) * len(POSITIONS) + absent if together else max(len(passes), absent)
    return sizing.Work(*samples_of(examples_of(wildcards.study), wildcards.shard), n_passes, n_passes)


def map_work(wildcards):
    return sizing.Work(1, CONFIG.longest_seconds(examples_of(wildcards.study)), 3, 3)


def analysis_work(wildcards):
    first, stop = item_range(wildcards.share, int(wildcards.shard))
    settings = CONFIG.share_settings(wildcards.model, wildcards.share)
    heard = [*("recording" for _ in settings.passes), *(state.heard for state in settings.states.values())]
    n_heard = sum(each != "none" for each in heard)
    return sizing.Work(stop - first, CONFIG.longest_seconds(examples_of(wildcards.share)), n_heard, len(heard))


def choosing_work(wildcards):
    # Un-steered, instructed, two controls, every method; states; and under heads every setting of both kinds.
    first, stop = item_range(wildcards.answers, int(wildcards.shard))
    settings = CONFIG.choice_settings(wildcards.model, wildcards.answers)
    choosing, heard = settings.choosing, 4 + len(settings.states)
    n_settings = 2 * len(choosing.n_heads) * len(choosing.strengths)
    n_passes = max(len(settings.passes) + heard, n_settings)
    steered = sum(each.direction is not None for each in settings.passes)
    duration = CONFIG.longest_seconds(examples_of(wildcards.answers))
    return sizing.Work(stop - first, duration, heard + steered, n_passes, choosing.max_new_tokens)


def listening_work(wildcards):
    # Some sounds are asked about, and as many others again.
    first, stop = item_range(wildcards.listening, int(wildcards.shard))
    return sizing.Work(stop - first, CONFIG.longest_seconds(examples_of(wildcards.listening)), 2, 32)


def effects_work(wildcards):
    # Every arm at every strength on the reported pairs of all axes, and chosen on some others.
    effects = CONFIG.studies[wildcards.effects].effects
    n_settings = len(effects.axes) * len(effects.arms) * len(effects.strengths)
    n_pairs = len(effects.axes) * (effects.n_report * (5 if effects.options else 1) + effects.n_choose)
    n_generated = effects.n_generated * effects.max_new_tokens
    return sizing.Work(n_settings, 0, 0, n_pairs + effects.n_neutral + effects.n_guardrail, n_generated // n_pairs)


def sweep_work(wildcards):
    # Every event and absent sound under every value, and every value without steering.
    examples = CONFIG.sweep_examples(wildcards.sweep)
    n_points = CONFIG.studies[wildcards.sweep].n_points(sizing.n_layers(model_folder(wildcards.model)))
    n_passes = n_points * (CONFIG.sweep_queries(wildcards.sweep) + 1)
    n_samples = CONFIG.sweep_samples(wildcards.sweep)[int(wildcards.shard)]
    return sizing.Work(n_samples, CONFIG.longest_seconds(examples), n_passes, n_passes)


def time_for(work):
    """Time limit (minutes) of a job, from what it takes through a model."""
    return lambda wildcards, attempt: sizing.runtime_minutes(work(wildcards), CONFIG.tokens_per_second, attempt)


def model_gpus(wildcards):
    return sizing.gpus(CONFIG.models[wildcards.model].device)


def doubled(amount):
    return lambda wildcards, attempt: sizing.doubled(amount, attempt)
