"""Names of models, methods and positions as readers see them in tables and figures."""

import re

from wheretolisten.localization.table import RANDOM_MODEL

METHOD_NAMES = {
    "random": "Random window",
    "direct_prompt": "Direct prompt",
    "prompt_only": "Prompt only",
    "steering_random_direction": "Steering, random direction",
    "steering_sample": "Steering, own vector",
    "steering_label_mean": "Steering, label mean",
    "steering_vista": "Steering, VISTA",
    "steering": "Steering",
}
"""Method → its name; `steering` is the published probe, whose choice of vector is not known."""


def method_name(method: str) -> str:
    """Name of a method: `steering_other_label` becomes Steering, other label."""
    return METHOD_NAMES.get(method) or method.replace("_", ", ", 1).replace("_", " ").capitalize()


def model_name(model: str) -> str:
    """Name of a model from its key in the configuration: `tiny-qwen2-audio` becomes Tiny Qwen2-Audio.

    A key that holds a capital letter or a space is a name already.
    """
    if model == RANDOM_MODEL:
        return "–"
    if re.search(r"[A-Z ]", model):
        return model
    words = " ".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]", model))
    return words.replace("Qwen2 Audio", "Qwen2-Audio")
