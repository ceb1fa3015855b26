"""What the measurements ask of a model about each recording, in three ways: engine, naive way, floor.

`peers` has two more, without answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache

from tests.engine.oracle import Oracle
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import DirectPrompt, Steering
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.engine import layout
from wheretolisten.engine.passes import Engine, Heard, Reading
from wheretolisten.models.adapter import Adapter

LABELS = ("rooster", "dog", "rain")
ABSENT = ("siren", "cow", "bell")
SECONDS = (16.0, 18.5, 17.1, 17.8, 16.6, 18.0, 17.4, 16.3)


@dataclass(frozen=True, eq=False)
class Found:
    """What one way found: attention [prompt or vector, layer, audio_token], un-steered and steered, and answers.

    Attention has one array per recording, un-steered and steered in turn. States [prompt, layer, hidden], one array per
    recording, and the seconds of un-steered and steered passes are kept where ways are compared by them.
    """

    attention: list[np.ndarray]
    answers: list[str]
    states: list[np.ndarray] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def largest_difference(self, other: "Found") -> float:
        """Largest absolute difference in attention; NaN where one of the two has NaN."""
        pairs = zip(self.attention, other.attention, strict=True)
        return float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs]))

    @property
    def largest_attention(self) -> float:
        """Largest attention to a token."""
        return max(float(values.max()) for values in self.attention)


class Work:
    """States and attention under five prompts, attention under vectors that steer, answers about each event.

    Parameters
    ----------
    adapter
        The model.
    n_samples
        Recordings: noise, as long as those of the default examples, the first eight of given lengths.
    new_tokens
        Tokens of an answer.
    n_kinds
        Vectors that steer each event.
    clock
        Seconds so far; on a GPU it has to wait for what was launched.
    """

    def __init__(
        self, adapter: Adapter, n_samples: int, new_tokens: int, n_kinds: int, clock: Callable[[], float]
    ) -> None:
        rng = np.random.default_rng(0)
        seconds = [*SECONDS, *rng.uniform(min(SECONDS), max(SECONDS), max(0, n_samples - len(SECONDS)))][:n_samples]
        self.recordings = [rng.normal(0, 0.1, round(each * 16_000)).astype(np.float32) for each in seconds]
        positive = [PROMPTS["positive"].format(label=label) for label in LABELS]
        self.prompts = [PROMPTS["inference"], PROMPTS["negative"], *positive]
        self.questions = [DirectPrompt().question.format(label=label, duration=5.0) for label in LABELS]
        self.inference, self.new_tokens, self.steering = PROMPTS["inference"], new_tokens, Steering()
        self.absent = [PROMPTS["positive"].format(label=label) for label in ABSENT]
        n_steered = len(POSITIONS) * n_kinds
        self.vectors = rng.normal(size=(n_steered, adapter.n_layers, adapter.hidden_size)).astype(np.float32)
        self.clock = clock
        self.naive_seconds = {"states and attention": 0.0, "steered": 0.0, "answers": 0.0}

    def read(self, engine: Engine, recordings: list[np.ndarray] | Heard) -> tuple[Reading, Reading, list[str]]:
        """The engine's un-steered and steered readings and its answers, rows recording by recording."""
        heard = engine.hear(recordings)
        return self.unsteered(engine, heard), self.steered(engine, heard), self.answers(engine, heard)

    def answers(self, engine: Engine, heard: Heard) -> list[str]:
        """The engine's answers to every question about each recording."""
        n = len(heard.recordings)
        index = np.repeat(range(n), len(self.questions)).tolist()
        return engine.answer(heard, self.questions * n, index, self.new_tokens)

    def unsteered(self, engine: Engine, heard: Heard) -> Reading:
        """The engine's states and attention under every prompt."""
        n = len(heard.recordings)
        index = np.repeat(range(n), len(self.prompts)).tolist()
        return engine.read(heard, self.prompts * n, index, want_states=True)

    def steered(self, engine: Engine, heard: Heard) -> Reading:
        """The engine's attention under every vector."""
        n = len(heard.recordings)
        index = np.repeat(range(n), len(self.vectors)).tolist()
        vectors = np.concatenate([self.vectors] * n)
        return engine.read(heard, [self.inference] * len(index), index, vectors, self.steering)

    def engine(self, engine: Engine, recordings: list[np.ndarray]) -> Found:
        """The engine's way."""
        reading, steered, answers = self.read(engine, recordings)
        return Found(self._attention(reading, steered, len(recordings)), answers)

    def each(self, engine: Engine, recordings: list[np.ndarray]) -> Found:
        """The engine's way, one recording after the other."""
        found = [self.engine(engine, [recording]) for recording in recordings]
        return Found([values for one in found for values in one.attention], [a for one in found for a in one.answers])

    def readings(self, engine: Engine, recordings: list[np.ndarray]) -> Found:
        """The engine's way without answers, timed in two halves; hearing is part of the un-steered one."""
        started = self.clock()
        heard = engine.hear(recordings)
        reading = self.unsteered(engine, heard)
        between = self.clock()
        steered = self.steered(engine, heard)
        seconds = {"un-steered": between - started, "steered": self.clock() - between}
        states = list(reading.states.reshape(len(recordings), -1, *reading.states.shape[1:]))
        return Found(self._attention(reading, steered, len(recordings)), [], states, seconds)

    def published(self, engine: Engine, recordings: list[np.ndarray]) -> None:
        """All that the published method needs for its windows: states, the base pass, one steered pass per query."""
        heard = engine.hear(recordings)
        reading = self.unsteered(engine, heard)
        n, n_events = len(recordings), len(LABELS)
        index = np.repeat(range(n), n_events).tolist()
        states = reading.states.reshape(n, -1, *reading.states.shape[1:])
        vectors = (states[:, 2:] - states[:, 1:2]).reshape(-1, *states.shape[2:])
        engine.read(heard, [self.inference] * len(index), index, vectors, self.steering)

    def asking(self, engine: Engine, recordings: list[np.ndarray], n_absent: int) -> None:
        """All that asking needs for its windows, held against absent sounds: prompts behind a shared prefix."""
        prompts = [*self.prompts[2:], *self.absent[:n_absent]]
        index = np.repeat(range(len(recordings)), len(prompts)).tolist()
        engine.read(recordings, prompts * len(recordings), index)

    def _attention(self, reading: Reading, steered: Reading, n: int) -> list[np.ndarray]:
        n_audio = reading.n_audio_tokens[:: len(self.prompts)]
        by_sample = [values.reshape(n, -1, *values.shape[1:]) for values in (reading.attention, steered.attention)]
        return [values[row][..., :n_tokens] for row, n_tokens in enumerate(n_audio) for values in by_sample]

    def naive(self, oracle: Oracle, recordings: list[np.ndarray]) -> Found:
        """One prompt at a time through the whole model, every map kept."""
        layers, clock = tuple(range(len(oracle.blocks))), self.clock
        masses, answers = [], []
        for recording in recordings:
            started = clock()
            masses.append(np.stack([oracle.read(recording, prompt).attention for prompt in self.prompts]))
            read = clock()
            scale = self.steering.scale
            masses.append(
                np.stack(
                    [oracle.read(recording, self.inference, "all", v, scale, layers).attention for v in self.vectors]
                )
            )
            steered = clock()
            answers += [oracle.generate(recording, question, self.new_tokens) for question in self.questions]
            times = (read - started, steered - read, clock() - steered)
            for name, seconds in zip(self.naive_seconds, times, strict=True):
                self.naive_seconds[name] += seconds
        return Found(masses, answers)

    @torch.inference_mode()
    def floor(self, engine: Engine, recordings: list[np.ndarray], n_rows: int, n_together: int | None = None) -> None:
        """The same tokens and audio through the same modules, and nothing else: no hooks, no readout, no branches.

        `n_rows` prompts go through together in steered passes, and `n_together` recordings (as many, if None) with all
        of their prompts in the others.
        """
        adapter, stack = engine.adapter, engine.adapter.text_stack
        n_together = n_rows if n_together is None else n_together
        implementation = stack.config._attn_implementation
        stack.set_attn_implementation("sdpa")
        try:
            for start in range(0, len(recordings), n_together):
                here = recordings[start : start + n_together]
                audio = adapter.encode(here)
                for prompts, n_steps in ((self.prompts, 0), (self.questions, self.new_tokens - 1)):
                    self._behind_prefix(engine, Heard(tuple(here), tuple(audio)), prompts, n_steps)
                rows = [n for n in range(len(audio)) for _ in self.vectors]
                inputs = adapter.prepare(here, [self.inference] * len(audio))
                for first in range(0, len(rows), n_rows):
                    chosen = rows[first : first + n_rows]
                    queries = layout.queries_of(inputs, inputs.text_start, None)
                    queries = [queries[n] for n in chosen]
                    whole = layout.arrange([[(n, 0, len(query.ids))] for n, query in enumerate(queries)], queries)
                    ids = whole.input_ids.to(adapter.device)
                    stack(inputs_embeds=adapter.embed(ids, [audio[n] for n in chosen]), use_cache=False)
        finally:
            stack.set_attn_implementation(implementation)

    def _behind_prefix(self, engine: Engine, heard: Heard, prompts: list[str], n_steps: int) -> None:
        adapter, stack, n = engine.adapter, engine.adapter.text_stack, len(heard.audio)
        device = adapter.device
        inputs = adapter.prepare(heard.recordings, prompts * n, np.repeat(range(n), len(prompts)).tolist())
        queries = layout.queries_of(inputs, inputs.last if n_steps else inputs.text_start, None)
        groups = layout.share_prefixes(queries)
        heads = [queries[group.queries[0]] for group in groups]
        shared = layout.arrange([[(row, 0, group.n_shared)] for row, group in enumerate(groups)], heads)
        cache = DynamicCache()
        embeddings = adapter.embed(shared.input_ids.to(device), heard.audio)
        stack(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
        rows = [[(q, group.n_shared, len(queries[q].ids)) for q in group.queries] for group in groups]
        behind = layout.arrange(rows, queries)
        owner, positions, ids = behind.owner, behind.position_ids.to(device), behind.input_ids.to(device)
        for step in range(n_steps + 1):
            states = stack(
                inputs_embeds=adapter.embed(ids, []),
                attention_mask=layout.block_mask(owner, groups, ids.shape[1]).to(device),
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            if n_steps:
                ids = adapter.model.lm_head(states[:, -len(prompts) :]).argmax(dim=-1).clamp(max=99)
                owner = torch.cat([owner, torch.arange(n * len(prompts)).view(n, -1)], dim=1)
                positions = positions[:, -1:].expand(-1, len(prompts)) + step
