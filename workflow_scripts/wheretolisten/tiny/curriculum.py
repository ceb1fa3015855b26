"""Curriculum of the tiny LALMs: find a named sound, then understand questions, then hear.

The text stack ends in reader blocks; the blocks before them are the lower ones. In the stages without sound a recording
is written: one embedding per audio token, made of its label's word and its place in time.

listen
    The reader alone learns to find a named sound in written recordings, asked in two or three words, the last of which
    is the name.
understand
    The lower blocks learn to read longer and longer questions, up to those in the chat template, so that the reader,
    which rests, can answer. Written recordings enter at the reader; in their place below stand audio placeholders.
speak
    The whole text stack learns questions of all kinds about written recordings that enter at its input, as sound does;
    the lower blocks hand them on to the reader as they are.
ears
    The audio encoder alone learns to turn sound into written recordings; with a library of recordings it first learns
    synthesised sounds, then both (ears on recordings).
hear
    Everything is trained on questions about sound.

The loss is that of the answers. In the last three stages there is a regression onto the written recording: of the
projected sound in ears, of what the reader gets as audio in the others. Where real recordings are heard, the encoder
also tells statistics of the sound (see `textures`). Attention enters no loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from wheretolisten.tiny.recordings import Recording, draw_long, draw_short, draw_shortest

# Share of each task among the questions of a stage.
_FIRST_TASKS = {"existence": 0.4, "onset": 0.6}
_BARE_TASKS = {"existence": 0.3, "onset": 0.4, "part": 0.2, "duration": 0.1}
_MARKED_TASKS = {"existence": 0.5, "onset": 0.3, "part": 0.2}
_NAMED_TASKS = {"existence": 0.3, "part": 0.25, "direct": 0.25, "onset": 0.2}
_ALL_TASKS = {
    "existence": 0.2, "order": 0.12, "part": 0.18, "direct": 0.22, "caption": 0.1,
    "onset": 0.06, "duration": 0.03, "next": 0.04, "previous": 0.03, "count": 0.02,
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum.

    Attributes
    ----------
    name
        For the log.
    steps
        How many at most.
    peaks
        Highest learning rate of each part that is trained: `words` (the embeddings), `lower` and `reader` (blocks),
        `ears` (encoder and projector). The other parts rest.
    draw
        Draws a written recording; None: sound from the clip pool.
    gapless
        Share of the recordings from the clip pool without noise between their events.
    blended
        Share of the recordings in a step that are mixed from sounds without a name, told by their texture alone; only
        in stages without questions.
    recorded
        Share of the others that is mixed from real recordings.
    misheard
        Share of the events of which some audio tokens say another label when they enter the text stack.
    batch
        Recordings per step, in units of the settings' batch size.
    tasks
        Share of each task among the questions; empty: no questions.
    form
        What stands around a question, see `Packer`.
    entry
        Where the audio enters the text stack: at the `input`, at the `reader` above placeholders, or at the
        `reader_alone`, which runs without the lower blocks.
    enough
        The stage ends early once this share of the latest answers is right in every task; above 1: never.
    """

    name: str
    steps: int
    peaks: dict[str, float]
    draw: Callable[[Sequence[str], np.random.Generator], Recording] | None = None
    gapless: float = 0.0
    blended: float = 0.0
    recorded: float = 0.0
    misheard: float = 0.0
    batch: int = 1
    tasks: dict[str, float] = field(default_factory=dict)
    form: str = "chat"
    entry: str = "input"
    enough: float = 2.0


def stages(settings) -> list[Stage]:
    """The curriculum of some `TinyTrainingSettings`."""
    s = settings
    listen = {"peaks": {"words": s.peak, "reader": s.peak}, "form": "name_last", "entry": "reader_alone"}
    understand = {"peaks": {"words": s.peak, "lower": s.peak}, "entry": "reader", "enough": s.enough}
    speak = dict.fromkeys(("words", "lower"), s.speak_peak) | {"reader": s.speak_reader_peak}
    hear = dict.fromkeys(("words", "lower"), s.hear_peak) | {"reader": s.hear_reader_peak, "ears": s.hear_ears_peak}
    # Noise that is always there becomes the place where attention rests when it finds nothing.
    shortest, long = partial(draw_shortest, gapless=s.gapless_short), partial(draw_long, gapless=s.gapless_long)
    short, marked = {"draw": draw_short, "tasks": _NAMED_TASKS}, {"draw": shortest, "tasks": _MARKED_TASKS}
    real, on_recordings, with_recordings = s.recordings, [], {}
    if real is not None:
        hear["ears"] = real.hear_ears_peak
        with_recordings = {"recorded": real.hear_share, "misheard": real.misheard}
        shares = {"blended": real.blended, "recorded": real.ears_share}
        on_recordings = [Stage("ears on recordings", real.ears_steps, {"ears": s.ears_peak}, **shares)]
    return [
        Stage("listen 1", s.listen_steps, draw=shortest, batch=4, tasks=_FIRST_TASKS, **listen),
        Stage("listen 2", s.listen_long_steps, draw=long, tasks=_BARE_TASKS, **listen),
        Stage("understand 1", s.understand_steps, batch=3, form="asked", **marked, **understand),
        Stage("understand 2", s.understand_steps, batch=3, form="answered", **marked, **understand),
        Stage("understand 3", s.understand_steps, **short, **understand),
        Stage("understand 4", s.understand_long_steps, draw=long, tasks=_NAMED_TASKS, **understand),
        Stage("speak", s.speak_steps, speak, draw=long, tasks=_ALL_TASKS),
        Stage("ears", s.ears_steps, {"ears": s.ears_peak}),
        *on_recordings,
        Stage("hear", s.hear_steps, hear, gapless=s.gapless_heard, tasks=_ALL_TASKS, **with_recordings),
    ]
