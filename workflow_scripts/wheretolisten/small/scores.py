"""What the small model hears, and where it looks when it is asked, on recordings of three sounds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import Localization
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.engine.forward import Heard
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.windows import find_window
from wheretolisten.models.adapter import Adapter
from wheretolisten.small.projector import embeddings, labels_at
from wheretolisten.statistics.overlap import chance_overlap, window_overlap
from wheretolisten.tiny.language import Event
from wheretolisten.tiny.recordings import ClipPool

_CAPTION = "List the sounds in the audio in order."
_CAPTION_TOKENS = 24
_EXISTENCE = "Is there the sound of {label} in the audio?"


def score(
    adapter: Adapter, pool: ClipPool, spoken: Mapping[str, str], n_recordings: int, seed: int
) -> dict[str, float]:
    """Scores on recordings of three events of 4.5 to 5.5 s with 1 s of noise between them.

    Parameters
    ----------
    adapter
        The model.
    pool
        Clips that its projector was not fitted on.
    spoken
        Label → the word that is said for it, where it is not the label itself.
    n_recordings
        Recordings to draw.
    seed
        Of the recordings and of what is asked.

    Returns
    -------
    All in percent:

    `tokens`: audio tokens whose nearest word, or nothing, is right; `named`: events whose mean token is nearest to
    their own word, among those of the pool's labels. `asked_absent`: overlap of the window where attention under the
    question for a sound exceeds the mean of that under three questions for absent ones; `asked`: of that where it
    exceeds the attention under the neutral prompt (`prompt_only` of the tables); `chance`: of a random window; and
    `asked_absent_begin` and so on by the event's place. `existence`: questions for present and absent sounds, equally
    many, after which the right one of yes and no is the likelier first word; `existence_ranked`: pairs of a present and
    an absent sound in which yes is likelier for the present one. `caption`: recordings of which the words for all three
    events are answered in order; `caption_named`: such words that are in the answer at all.
    """
    rng = np.random.default_rng(np.random.SeedSequence([pool.entropy, seed, 0x5CA1]))
    engine, found = Engine(adapter), defaultdict(list)
    said = {label: spoken.get(label, label) for label in pool.labels}
    for _ in range(n_recordings):
        recording, sound = pool.draw(rng, benchmark_like=True)
        present = [event.label for event in recording.events]
        absent = [label for label in pool.labels if label not in present]
        absent = [absent[index] for index in rng.choice(len(absent), size=len(present), replace=False)]
        heard = engine.hear([sound])
        _score_tokens(adapter, recording.events, heard.audio[0], said, found)
        questions = [PROMPTS["positive"].format(label=label) for label in (*present, *absent)]
        attention = engine.read(heard, [PROMPTS["inference"], *questions], [0] * (1 + len(questions))).attention
        base, asked, of_absent = attention[0], attention[1:][: len(present)], attention[1 + len(present) :].mean(axis=0)
        for event, own in zip(recording.events, asked, strict=True):
            found["asked_absent"].append(_overlap(adapter, of_absent, own, event))
            found["asked"].append(_overlap(adapter, base, own, event))
            found["chance"].append(chance_overlap(event.onset, event.offset - event.onset, recording.seconds))
        for position, overlap in zip(POSITIONS, found["asked_absent"][-len(present) :], strict=True):
            found[f"asked_absent_{position}"].append(overlap)
        _score_existence(engine, heard, present, absent, found)
        _score_caption(engine, heard, [said[label] for label in present], found)
    return {name: round(100 * float(np.mean(values)), 2) for name, values in found.items()}


def _score_tokens(
    adapter: Adapter, events: Sequence[Event], audio: torch.Tensor, said: Mapping[str, str], found: dict[str, list]
) -> None:
    """Whether tokens, [audio_token, hidden], and means over events are nearest to what is said for the right label."""
    words = embeddings(list(said.values()), adapter.model, adapter.tokenizer)
    truth = labels_at(events, len(audio), adapter.tokens_per_second)
    nearest = torch.cat([words, torch.zeros(1, words.shape[1])])
    names = [*said, None]
    for token, label in zip(torch.cdist(audio.float(), nearest).argmin(dim=1).tolist(), truth, strict=True):
        found["tokens"].append(names[token] == label)
    for event in events:
        of_event = audio[torch.tensor([label == event.label for label in truth])].float().mean(dim=0)
        alike = functional.cosine_similarity(of_event[None], words, dim=1)
        found["named"].append(names[int(alike.argmax())] == event.label)


def _overlap(adapter: Adapter, reference: np.ndarray, attention: np.ndarray, event: Event) -> float:
    rate, n_tokens = adapter.tokens_per_second, attention.shape[1]
    window = find_window(reference, attention, event.offset - event.onset, rate, n_tokens, Localization())
    return window_overlap(window, event.onset, event.offset)


def _score_existence(
    engine: Engine, heard: Heard, present: Sequence[str], absent: Sequence[str], found: dict[str, list]
) -> None:
    """Whether yes is a likelier answer than no, about present and absent sounds, and likelier about the former."""
    adapter, prompts = engine.adapter, [_EXISTENCE.format(label=label) for label in (*present, *absent)]
    last = engine.read(heard, prompts, [0] * len(prompts), want_states=True).states[:, -1]
    with torch.inference_mode():
        scores = adapter.model.lm_head(adapter.text_stack.norm(torch.tensor(last)))
    yes, no = (adapter.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
    odds = (scores[:, yes] - scores[:, no]).numpy()
    of_present, of_absent = odds[: len(present)], odds[len(present) :]
    found["existence"].extend([*(of_present > 0), *(of_absent <= 0)])
    found["existence_ranked"].extend((of_present[:, None] > of_absent).ravel())


def _score_caption(engine: Engine, heard: Heard, words: Sequence[str], found: dict[str, list]) -> None:
    """Which of the words for what is there an answer names, and whether all of them in order."""
    (caption,) = engine.answer(heard, [_CAPTION], [0], _CAPTION_TOKENS)
    places = [caption.lower().find(word) for word in words]
    found["caption"].append(-1 not in places and places == sorted(places))
    found["caption_named"].extend(place >= 0 for place in places)
