"""Passes through the text stack: what prompts leave behind at their last tokens and in their attention, and answers."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from transformers import Cache

from wheretolisten.config.probe import Steering
from wheretolisten.engine import attention, injection, layout
from wheretolisten.engine.attention import Wanted
from wheretolisten.engine.batching import Batches
from wheretolisten.engine.cache import with_room
from wheretolisten.engine.layout import Group, Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.models.base import Adapter, Inputs


@dataclass(frozen=True, eq=False)
class Heard:
    """Recordings that the audio encoder has heard: `audio` holds their token embeddings, [audio_token, hidden] each.

    No audio, None, has no tokens.
    """

    recordings: tuple[np.ndarray | None, ...]
    audio: tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False)
class Reading:
    """What one call of `Engine.read` found; rows are prompts.

    Attributes
    ----------
    states
        Output of every block at the last prompt token, float32 [row, layer, hidden]; the last block's is taken before
        the final norm, a steered block's after steering. None unless asked for.
    attention
        a^l_t: attention from the text rows to each audio token, averaged over heads and summed over rows, float32
        [row, layer, audio_token]; with `keep_text` not summed, [row, layer, text_token, audio_token]; with `keep_heads`
        not averaged, [row, layer, head, audio_token]. NaN beyond a row's own text and audio tokens.
    n_audio_tokens
        Audio tokens of each row, [row].
    head_mass
        Share of the last prompt token's attention that goes to the audio, by head, float32 [row, layer, head] (ASH).
        None unless asked for.
    audio_share
        P_l: share of the attention of all prompt tokens, the audio included, that goes to the audio, averaged over
        heads, float32 [row, layer] (SWL §3.1). None unless asked for.
    """

    states: np.ndarray | None
    attention: np.ndarray
    n_audio_tokens: np.ndarray
    head_mass: np.ndarray | None = None
    audio_share: np.ndarray | None = None


class Engine:
    """Reads states and attention of many prompts, steered or not, and lets the model answer.

    A recording is encoded once. What its prompts share (the longest common prefix of their tokens, up to the first one
    that is read or steered) goes through the text stack once; what is left of the prompts stands side by side behind
    it, each seeing the prefix and itself, in the same pass or, for answers, behind a key-value cache. Only steering
    that changes the shared tokens takes the prompts through in full. Blocks before the first steered one are then
    shared, and the last block ends with its attention where nobody asks for states.

    The text stack of the adapter's model is switched to an attention function that can report rows.

    Parameters
    ----------
    adapter
        The model.
    text_rows
        Text queries whose attention is summed: `all` tokens after the audio up to the last prompt token, or the `last`.
    kernel
        Attention kernel of passes without block masks, `sdpa` or `flash`; see `config.probe.Readout`.
    max_rows
        Prompts that go through together, at most; None: all of a call. Those that share a prefix stay together. Memory
        that runs out halves it. On a GPU also the number of recordings that are encoded together; on a CPU that is 1.
    share_prefix
        False: un-steered prompts, too, are read in full, in the passes of steered ones; for comparisons bit by bit.

    Raises
    ------
    UserError
        If the kernel cannot run here.
    """

    def __init__(
        self,
        adapter: Adapter,
        text_rows: Literal["all", "last"] = "all",
        kernel: Literal["sdpa", "flash"] = "sdpa",
        max_rows: int | None = None,
        share_prefix: bool = True,
    ) -> None:
        attention.check_kernel(kernel, adapter.device, next(adapter.text_stack.parameters()).dtype)
        adapter.text_stack.set_attn_implementation(attention.KERNELS[kernel])
        self.adapter = adapter
        self.text_rows = text_rows
        self.meter = Meter(adapter.device)
        self._share_prefix = share_prefix
        # A window of audio keeps all cores of a CPU busy by itself.
        self._recordings = Batches("recordings", 1 if adapter.device.type == "cpu" else max_rows)
        self._rows = Batches("prompts", max_rows)

    def hear(self, recordings: Sequence[np.ndarray | None] | Heard) -> Heard:
        """Encode recordings, float32 [frame] each, 16 kHz mono; for several calls of `read` and `answer` about them.

        None stands for no audio at all.

        Raises
        ------
        UserError
            If one recording does not fit into memory.
        """
        if isinstance(recordings, Heard):
            return recordings
        sounds = [recording for recording in recordings if recording is not None]
        with self.meter.stage("encode"):
            parts = self._recordings.run(len(sounds), lambda part: self.adapter.encode(sounds[part]))
        encoded = (audio for part in parts for audio in part)
        nothing = self.adapter.model.get_input_embeddings().weight.new_empty(0, self.adapter.hidden_size)
        audio = tuple(nothing if recording is None else next(encoded) for recording in recordings)
        return Heard(tuple(recordings), audio)

    def read(
        self,
        recordings: Sequence[np.ndarray | None] | Heard,
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        want_states: bool = False,
        keep_text: bool = False,
        keep_heads: bool = False,
        want_head_mass: bool = False,
        want_audio_share: bool = False,
    ) -> Reading:
        """Run prompts about recordings through the text stack and read the attention of text to audio.

        Parameters
        ----------
        recordings
            float32 [frame] each, 16 kHz mono, or what `hear` made of them. None is no audio at all: the prompt stands
            alone, its attention is NaN.
        prompts
            One per row.
        audio_index
            Which recording each prompt is about; by default the one of the same index.
        vectors
            Steering vector of every row and block, [row, layer, hidden]; rows with NaN yield NaN from the first steered
            block on, other rows do not notice. None: no steering.
        steering
            How the vectors are added; needed exactly if there are vectors.
        want_states
            Whether to return the last-token states.
        keep_text
            Whether to return the attention of every text token instead of their sum; `text_tokens` names them.
        keep_heads
            Whether to return the attention of every head instead of their mean; not together with `keep_text`.
        want_head_mass
            Whether to return what each head's last prompt token gives to the audio.
        want_audio_share
            Whether to return what all tokens together give to the audio; every prompt then goes through in full.

        Raises
        ------
        UserError
            If a recording does not fit the model (see `Adapter.prepare`), or one prompt does not fit into memory.
        ValueError
            If the vectors have the wrong shape, or come without a steering or the reverse; if both text tokens and
            heads are to be kept.
        """
        known = recordings.recordings if isinstance(recordings, Heard) else recordings
        inputs = self.adapter.prepare(known, prompts, audio_index)
        wanted = Wanted(want_states, keep_text, keep_heads, want_head_mass, want_audio_share)
        return self._read(recordings, inputs, vectors, steering, wanted)

    def read_inputs(
        self,
        inputs: Inputs,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        want_states: bool = False,
        keep_text: bool = False,
        keep_heads: bool = False,
        want_head_mass: bool = False,
        want_audio_share: bool = False,
    ) -> Reading:
        """As `read`, from a prepared batch, padded on either side."""
        wanted = Wanted(want_states, keep_text, keep_heads, want_head_mass, want_audio_share)
        return self._read(inputs.recordings, inputs, vectors, steering, wanted)

    @torch.inference_mode()
    def answer(
        self,
        recordings: Sequence[np.ndarray | None] | Heard,
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        max_new_tokens: int = 64,
    ) -> list[str]:
        """Greedy answers, one per prompt, without special tokens; the same as those of transformers' `generate`.

        Parameters
        ----------
        recordings, prompts, audio_index
            As in `read`.
        max_new_tokens
            Tokens of an answer, at most.

        Raises
        ------
        UserError
            As `read`.
        """
        heard = self.hear(recordings)
        inputs = self.adapter.prepare(heard.recordings, prompts, audio_index)
        queries = layout.queries_of(inputs, inputs.last, None)
        rows = [group.queries for group in layout.share_prefixes(queries)]

        def generate(part: slice) -> dict[int, list[int]]:
            members = [query for row in rows[part] for query in row]
            answers = self._generate(heard, [queries[query] for query in members], max_new_tokens)
            return dict(zip(members, answers, strict=True))

        founds = self._rows.run(len(rows), generate, max(map(len, rows)))
        tokens = {query: answer for found in founds for query, answer in found.items()}
        ordered = [tokens[query] for query in range(len(queries))]
        return self.adapter.processor.tokenizer.batch_decode(ordered, skip_special_tokens=True)

    def text_tokens(self, inputs: Inputs) -> list[list[str]]:
        """The text tokens whose attention is read, each decoded by itself, by row of a prepared batch."""
        spans = zip(inputs.input_ids, self._first_text(inputs).tolist(), inputs.last.tolist(), strict=True)
        decode = self.adapter.processor.tokenizer.decode
        return [[decode(token) for token in ids[first : last + 1].tolist()] for ids, first, last in spans]

    def describe(
        self, steering: Steering | None, recording: np.ndarray | None, prompt: str, max_new_tokens: int | None = None
    ) -> str:
        """What is steered and read, in words for a log, with the tokens of one prompt as the example.

        With `max_new_tokens`: what is answered instead of read.
        """
        inputs = self.adapter.prepare([recording], [prompt])
        (first, after), last = inputs.audio_span[0].tolist(), int(inputs.last[0])
        audio = f"the audio tokens {first}-{after - 1}, at {self.adapter.tokens_per_second:g} audio tokens per second"
        if recording is None:
            audio = "no audio tokens"
        if max_new_tokens is not None:
            return (
                "nothing is steered\n"
                f"answers of at most {max_new_tokens} tokens, greedy, to the prompt {prompt!r}: "
                f"tokens 0-{last}, with {audio}"
            )
        start = int(self._first_text(inputs)[0])
        read = self.adapter.processor.tokenizer.decode(inputs.input_ids[0, start : last + 1])
        if steering is None:
            lines = ["nothing is steered"]
        else:
            steered = range(int(injection.first_steered(inputs, steering.positions)[0]), last + 1)
            lines = [
                injection.describe(steering, self.adapter.n_layers),
                f"steered tokens of the prompt {prompt!r}: {injection.ranges(steered)} of 0-{last}",
            ]
        lines.append(f"attention is read from tokens {injection.ranges(range(start, last + 1))} ({read!r}) to {audio}")
        return "\n".join(lines)

    def _first_text(self, inputs: Inputs) -> torch.Tensor:
        if self.text_rows == "last":
            return inputs.last
        # Without audio there is no attention to read, so prompts may share all that comes before their last tokens.
        return torch.where(inputs.n_audio_tokens > 0, inputs.text_start, inputs.last)

    # ------------------------------------------------------------------------------------------------------- reading

    @torch.inference_mode()
    def _read(
        self,
        recordings: Sequence[np.ndarray | None] | Heard,
        inputs: Inputs,
        vectors: np.ndarray | None,
        steering: Steering | None,
        wanted: Wanted,
    ) -> Reading:
        if (vectors is None) != (steering is None):
            raise ValueError("vectors and steering belong together")
        if wanted.keep_text and wanted.keep_heads:
            raise ValueError("keep_text and keep_heads exclude each other")
        expected = (len(inputs.input_ids), self.adapter.n_layers, self.adapter.hidden_size)
        if vectors is not None and vectors.shape != expected:
            raise ValueError(f"vectors of shape {vectors.shape} for {expected} (row, layer, hidden)")
        heard = self.hear(recordings)
        steered_from = None if steering is None else injection.first_steered(inputs, steering.positions)
        queries = layout.queries_of(inputs, self._first_text(inputs), steered_from)
        in_full = not self._share_prefix or wanted.audio_share
        in_full |= steering is not None and steering.positions == "all"
        rows = [(n,) for n in range(len(queries))]
        if not in_full:
            rows = [group.queries for group in layout.share_prefixes(queries)]

        def read(part: slice) -> _Found:
            members = [query for row in rows[part] for query in row]
            own = None if vectors is None else torch.as_tensor(vectors[members], dtype=torch.float32)
            asked = [queries[query] for query in members]
            found = _Found(asked, own, steering, wanted)
            if in_full:
                self._run_in_full(heard, found)
            else:
                self._run_behind_prefix(heard, found)
            return found

        parts = [found.collect() for found in self._rows.run(len(rows), read, max(map(len, rows)))]
        order = [query for row in rows for query in row]
        states, *of_attention = (_joined(arrays, order) for arrays in zip(*parts, strict=True))
        attention_, head_mass, audio_share = of_attention
        return Reading(states, attention_, inputs.n_audio_tokens.numpy(), head_mass, audio_share)

    def _run_behind_prefix(self, heard: Heard, found: "_Found") -> None:
        """Prefixes once, and all that is left of the prompts side by side behind them."""
        groups, shared, rest = _prefixes(found.queries)
        tokens, hooks = layout.behind(shared, rest), []
        found.read_from(tokens, self.adapter.device)
        if found.steering is not None:
            steered = tokens.since([query.first_steered for query in found.queries])
            hooks = self._steering(found, steered.to(self.adapter.device), tokens.owner.to(self.adapter.device))
        audio = [heard.audio[found.queries[group.queries[0]].recording] for group in groups]
        self.meter.tokens["prefill"] += shared.n_tokens
        with self.meter.stage("suffix" if found.steering is None else "steer", rest.n_tokens):
            # Without a cache, so that keys and values live no longer than their block.
            self._through(tokens, audio, layout.block_mask(rest.owner, groups), found, hooks)

    def _run_in_full(self, heard: Heard, found: "_Found") -> None:
        """Every prompt in a row of its own, without a mask: padding follows the tokens, which cannot see it."""
        queries = found.queries
        whole = layout.arrange([[(row, 0, len(query.ids))] for row, query in enumerate(queries)], queries)
        hooks, trunk, first_own = [], whole, 0
        if found.steering is not None:
            steered_all = found.steering.positions == "all"
            since = whole.since([query.first_steered for query in queries]).to(self.adapter.device)
            hooks = self._steering(found, None if steered_all else since, None)
            first_own = min(found.steering.scales(self.adapter.n_layers)) + (found.steering.site == "block")
            distinct = list(dict.fromkeys(queries))
            if first_own and len(distinct) < len(queries):
                # Until the first vector is added, prompts that differ only in their vectors are one and the same.
                trunk = layout.arrange([[(row, 0, len(query.ids))] for row, query in enumerate(distinct)], distinct)
                branch = torch.tensor([distinct.index(query) for query in queries], device=self.adapter.device)
                hooks.insert(0, (self.adapter.blocks[first_own - 1], lambda hidden: hidden[branch.to(hidden.device)]))
                found.read_from(trunk, self.adapter.device, distinct, branch, first_own)
                queries = distinct
        found.read_from(whole, self.adapter.device)
        n_tokens = sum(len(query.ids) for query in found.queries)
        with self.meter.stage("suffix" if found.steering is None else "steer", n_tokens):
            self._through(trunk, [heard.audio[query.recording] for query in queries], None, found, hooks)

    def _steering(
        self, found: "_Found", tokens: torch.Tensor | None, owner: torch.Tensor | None
    ) -> list[tuple[nn.Module, injection.Hook]]:
        vectors = found.vectors.to(self.adapter.device)
        hooks = injection.steering_hooks(vectors, tokens, found.steering, owner)
        blocks = self.adapter.blocks
        return [
            (blocks[layer] if found.steering.site == "block" else blocks[layer].get_submodule("mlp"), hook)
            for layer, hook in hooks.items()
        ]

    def _through(
        self,
        tokens: Layout,
        audio: Sequence[torch.Tensor],
        mask: torch.Tensor | None,
        found: "_Found",
        hooks: list[tuple[nn.Module, injection.Hook]],
    ) -> None:
        # Attached after the steering hooks, hence called after them: states are what the next block sees.
        recorders = [(block, found.recorder(layer)) for layer, block in enumerate(self.adapter.blocks)]
        with injection.hooked(hooks + (recorders if found.wanted.states else [])):
            self._forward(tokens, audio, None, mask, found.reader(self.adapter.n_layers))

    # ------------------------------------------------------------------------------------------------------ answering

    def _generate(self, heard: Heard, queries: list[Query], max_new_tokens: int) -> list[list[int]]:
        cache, groups, behind = self._prefill(heard, queries, max_new_tokens)
        device, head = self.adapter.device, self.adapter.model.get_output_embeddings()
        with self.meter.stage("answer", behind.n_tokens):
            states = self._forward(behind, [], cache, layout.block_mask(behind.owner, groups))
            row, column = behind.row.to(states.device), behind.last(queries).to(states.device)
            last = states[row, column]
            # Every step has one column per query of a row; a query keeps its place in it.
            widest = max(len(group.queries) for group in groups)
            place = torch.tensor([list(group.queries) + [-1] * (widest - len(group.queries)) for group in groups])
            column = torch.tensor([group.queries.index(q) for q, group in _by_query(groups)], device=states.device)
            length = torch.tensor([len(query.ids) for query in queries])
            ends = self.adapter.eos_token_ids
            owner, tokens = behind.owner, []
            done = torch.zeros(len(queries), dtype=torch.bool, device=device)
            while True:
                tokens.append(head(last.to(head.weight.device)).argmax(dim=-1).to(device))
                done |= torch.isin(tokens[-1], torch.tensor(ends, device=device))
                if len(tokens) == max_new_tokens or bool(done.all()):
                    break
                owner = torch.cat([owner, place], dim=1)
                step = Layout(
                    torch.where(place.to(device) >= 0, tokens[-1][place.clamp(min=0).to(device)], 0),
                    (length + len(tokens) - 1)[place.clamp(min=0)],
                    place,
                    *torch.zeros(3, 0),
                )
                last = self._forward(step, [], cache, layout.block_mask(owner, groups, widest))[row, column]
        self.meter.tokens["answer"] += len(tokens) * len(queries)
        answers = torch.stack(tokens, dim=1).tolist()
        stops = [next((n for n, token in enumerate(own) if token in ends), len(own)) for own in answers]
        return [own[:stop] for own, stop in zip(answers, stops, strict=True)]

    # --------------------------------------------------------------------------------------------------------- passes

    def _prefill(
        self, heard: Heard, queries: list[Query], max_new_tokens: int = 0
    ) -> tuple[Cache, list[Group], Layout]:
        """Shared prefixes, one row each, in a cache; the groups that share them; what is left of their queries.

        The cache has room for what is left, and for new tokens of every query.
        """
        groups, shared, behind = _prefixes(queries)
        n_new = max_new_tokens * max(len(group.queries) for group in groups)
        n_columns = shared.input_ids.shape[1] + behind.input_ids.shape[1] + n_new
        cache = with_room(self.adapter.n_layers, n_columns)
        # Without audio, prompts steered from their first token on share nothing.
        if shared.n_tokens:
            with self.meter.stage("prefill", shared.n_tokens):
                audio = [heard.audio[queries[group.queries[0]].recording] for group in groups]
                self._forward(shared, audio, cache, None, self._stop_after_keys)
        return cache, groups, behind

    def _stop_after_keys(self, layer: int, *_: object) -> None:
        # The cache holds the last block's keys and values by now, and nobody reads what comes out of it.
        if layer == self.adapter.n_layers - 1:
            raise _EnoughError

    def _forward(
        self,
        tokens: Layout,
        audio: Sequence[torch.Tensor],
        cache: Cache | None,
        mask: torch.Tensor | None,
        read: attention.Read | None = None,
    ) -> torch.Tensor | None:
        """States behind the final norm, [row, column, hidden]; None if `read` or a hook had enough before."""
        device = self.adapter.device
        # Without a cache before them, positions are columns, and stay so for rows that branch off on the way.
        position_ids = None if mask is None else tokens.position_ids.to(device)
        with contextlib.suppress(_EnoughError):
            return self.adapter.text_stack(
                inputs_embeds=self.adapter.embed(tokens.input_ids.to(device), audio),
                attention_mask=None if mask is None else mask.to(device),
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=cache is not None,
                attention_reader=read,
            ).last_hidden_state


class _EnoughError(Exception):
    """Ends a pass when nobody needs the rest of it: the last block's MLP, the final norm."""


class _Found:
    """What a pass is asked for and what it has found.

    Up to block `first_own` a pass may hold distinct prompts only, of which the queries branch off.
    """

    def __init__(
        self,
        queries: list[Query],
        vectors: torch.Tensor | None,
        steering: Steering | None,
        wanted: Wanted,
    ) -> None:
        self.queries, self.steering, self.wanted = queries, steering, wanted
        self._states: list[torch.Tensor] = []
        self._readers: list[tuple[int, attention.AttentionReader, tuple, torch.Tensor | None]] = []
        self.vectors, self._broken = vectors, torch.zeros(len(queries), dtype=torch.bool)
        if vectors is not None:
            # A vector of NaN would reach other prompts through the keys and values of their row.
            self._broken = vectors.isnan().flatten(1).any(dim=1)
            self.vectors = vectors.masked_fill(self._broken[:, None, None], 0)

    def read_from(
        self,
        tokens: Layout,
        device: torch.device,
        queries: list[Query] | None = None,
        branch: torch.Tensor | None = None,
        n_layers: int = 0,
    ) -> None:
        """Read `queries` (by default all) where they lie in a pass; in its first `n_layers` blocks only, if given."""
        queries = self.queries if queries is None else queries
        lengths = torch.tensor([len(query.ids) for query in queries]) if self.wanted.audio_share else None
        reader = attention.AttentionReader(tokens.rows_to_read(queries, device), self.wanted, lengths)
        last = (tokens.row.to(device), tokens.last(queries).to(device))
        self._readers.append((n_layers, reader, last, branch))

    def reader(self, n_layers: int) -> attention.Read:
        """What the attention function calls in every block."""

        def read(layer: int, *arguments: object) -> None:
            self._at(layer, of_states=False)[1].read(layer, *arguments)
            if layer == n_layers - 1 and not self.wanted.states:
                raise _EnoughError

        return read

    def recorder(self, layer: int) -> injection.Hook:
        """The hook that takes the last tokens' states at a block's output."""

        def record(hidden: torch.Tensor) -> None:
            _, _, (row, column), branch = self._at(layer, of_states=True)
            states = hidden[row.to(hidden.device), column.to(hidden.device)].float().to(row.device)
            self._states.append(states if branch is None else states[branch])

        return record

    def _at(self, layer: int, of_states: bool) -> tuple:
        # The block after which queries branch off still attends as one, but its output is theirs.
        return next(entry for entry in self._readers if layer + of_states < entry[0] or entry[0] == 0)

    def collect(self) -> tuple[np.ndarray | None, ...]:
        """States, attention, head masses and audio's shares, rows as the queries of this pass."""

        def joined(values: Callable[[attention.AttentionReader], torch.Tensor]) -> torch.Tensor:
            parts = [
                values(reader) if branch is None else values(reader)[branch.cpu()]
                for _, reader, _, branch in self._readers
                if reader.has_read
            ]
            return torch.cat(parts, dim=1)

        of_attention = [
            joined(attention.AttentionReader.attention),
            joined(attention.AttentionReader.head_mass) if self.wanted.head_mass else None,
            joined(attention.AttentionReader.audio_share) if self.wanted.audio_share else None,
        ]
        states = torch.stack(self._states, dim=1).cpu() if self.wanted.states else None
        if self._broken.any():
            first = min(self.steering.scales(of_attention[0].shape[1]))
            # Attention of the steered block itself is computed before its vector is added.
            for values in of_attention:
                if values is not None:
                    values[self._broken, first + 1 :] = torch.nan
            if states is not None:
                states[self._broken, first:] = torch.nan
        return tuple(None if values is None else values.numpy() for values in (states, *of_attention))


def _by_query(groups: Sequence[Group]) -> list[tuple[int, Group]]:
    return sorted(((query, group) for group in groups for query in group.queries), key=lambda pair: pair[0])


def _prefixes(queries: list[Query]) -> tuple[list[Group], Layout, Layout]:
    """Queries that share a prefix; the prefixes, a row each; what is left of the queries, in the same rows."""
    groups = layout.share_prefixes(queries)
    heads = [queries[group.queries[0]] for group in groups]
    shared = layout.arrange([[(row, 0, group.n_shared)] for row, group in enumerate(groups)], heads)
    rows = [[(index, group.n_shared, len(queries[index].ids)) for index in group.queries] for group in groups]
    return groups, shared, layout.arrange(rows, queries)


def _joined(parts: Sequence[np.ndarray | None], order: list[int]) -> np.ndarray | None:
    """Rows of several passes, back in the order of the call; text and audio tokens padded with NaN to the longest."""
    if parts[0] is None:
        return None
    widest = np.max([part.shape[1:] for part in parts], axis=0)
    joined = np.full((len(order), *widest), np.nan, dtype=np.float32)
    start = 0
    for part in parts:
        rows = order[start : start + len(part)]
        joined[(rows, *map(slice, part.shape[1:]))] = part
        start += len(part)
    return joined
