"""Names of models, methods and positions as readers see them in tables and figures."""

import re

from wheretolisten.localization.table import RANDOM_MODEL

_METHOD_NAMES = {
    "random": "Random window",
    "steering_sample": "Steering, own vector",
    "steering_vista": "Steering, VISTA",
}
"""Names that do not follow from the method."""


def method_name(method: str) -> str:
    """Name of a method: `prompt_only` becomes Prompt only, `steering_other_label` Steering, other label.

    `steering` alone is the published probe, whose choice of vector is not known.
    """
    if method in _METHOD_NAMES:
        return _METHOD_NAMES[method]
    return re.sub(r"^steering_", "steering, ", method).replace("_", " ").capitalize()


def position_name(position: str) -> str:
    """Name of a position: `begin` becomes Begin, `event-1` Event 1."""
    return position.replace("-", " ").capitalize()


def position_tick(position: str) -> str:
    """The same where an axis says that it shows events: `event-1` becomes 1."""
    return position_name(position).removeprefix("Event ")


def model_name(model: str) -> str:
    """Name of a model from its key in the configuration: `tiny-qwen2-audio` becomes Tiny Qwen2-Audio.

    A key that holds a capital letter or a space is a name already.
    """
    if model == RANDOM_MODEL:
        return "–"
    if re.search(r"[A-Z ]", model):
        return model
    words = " ".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]", model))
    return re.sub(r"\b(\d+)([mb])\b", lambda size: size[0].upper(), words.replace("Qwen2 Audio", "Qwen2-Audio"))
