"""Attention of a model that is asked about sounds, or steered for them, sound by sound."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization, Steering
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.directions.vectors import contrast
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.windows import attention_shares

Method = Literal["ask", "steer"]
"""ask: the prompt about the sound (`prompt_matched` of the tables); steer: the neutral prompt, its tokens after the
audio steered along v = F(x, p+) − F(x, p−) of the sound (`matched`)."""


def shares(engine: Engine, recordings: Sequence[np.ndarray], sounds: Sequence[str], method: Method) -> list[np.ndarray]:
    """Shares of attention to the audio under the question for every sound, in the scored blocks.

    Parameters
    ----------
    recordings
        float32 [frame] each, 16 kHz mono.
    sounds
        Names, as the question has them.

    Returns
    -------
    list of np.ndarray
        Of each recording, float64 [sound, layer, audio_token].
    """
    heard = engine.hear(recordings)
    about = np.repeat(np.arange(len(recordings)), len(sounds)).tolist()
    questions = [PROMPTS["positive"].format(label=sound) for sound in sounds] * len(recordings)
    if method == "ask":
        found = engine.read(heard, questions, about)
    else:
        positive = engine.read(heard, questions, about, want_states=True).states
        neutral = [PROMPTS["negative"]] * len(recordings)
        negative = engine.read(heard, neutral, range(len(recordings)), want_states=True).states
        vectors, steering = contrast(positive, negative[about]), Steering(positions="after_audio")
        found = engine.read(heard, [PROMPTS["inference"]] * len(about), about, vectors, steering)
    layers = select_layers(Localization().layers, found.attention.shape[1])
    attention = found.attention[:, layers].reshape(len(recordings), len(sounds), len(layers), -1)
    n_tokens = found.n_audio_tokens.reshape(len(recordings), len(sounds))[:, 0]
    return [attention_shares(each[..., :n]) for each, n in zip(attention, n_tokens, strict=True)]
