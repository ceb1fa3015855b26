"""Passes that read: states and attention of many prompts, steered or not."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import Cache

from wheretolisten.engine import injection, layout, sites
from wheretolisten.engine.attention import AttentionReader, Read, Wanted
from wheretolisten.engine.cache import kept, with_room
from wheretolisten.engine.forward import EnoughError, Heard, forward, prefill
from wheretolisten.engine.injection import Injection
from wheretolisten.engine.layout import Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.traits import traits_of
from wheretolisten.models.adapter import Adapter


class Found:
    """What a pass is asked for and what it has found.

    Up to some block a pass may hold distinct prompts only, of which the queries branch off.

    Parameters
    ----------
    queries
        The prompts.
    injected
        How each query is steered; None: no steering.
    wanted
        What is read.
    adapter
        The model that the pass goes through.
    """

    def __init__(
        self,
        queries: list[Query],
        injected: Injection | None,
        wanted: Wanted,
        adapter: Adapter,
    ) -> None:
        self.queries, self.injected, self.wanted = queries, injected, wanted
        self._n_layers, self._device = adapter.n_layers, adapter.device
        self._sources: list[tuple[int, AttentionReader, tuple, torch.Tensor | None]] = []
        self._values: dict[str, torch.Tensor] = {}

    def read_from(
        self,
        tokens: Layout,
        queries: list[Query] | None = None,
        branch: torch.Tensor | None = None,
        n_layers: int = 0,
    ) -> None:
        """Read `queries` (by default all) where they lie in a pass; in its first `n_layers` blocks only, if given."""
        queries = self.queries if queries is None else queries
        lengths = torch.tensor([len(query.ids) for query in queries]) if self.wanted.audio_share else None
        reader = AttentionReader(tokens.rows_to_read(queries, self._device), self.wanted, lengths)
        place = (tokens.row.to(self._device), tokens.state_at(queries).to(self._device))
        self._sources.append((n_layers, reader, place, branch))

    def reader(self) -> Read:
        """What the attention function calls in every block."""

        def read(layer: int, *arguments: object) -> None:
            # The block after which queries branch off still attends as one, but its output is theirs.
            _, reader, _, branch = self._source(layer)
            for name, values in reader.read(*arguments).items():
                self._keep(name, layer, values, branch)
            if layer == self._n_layers - 1 and not self.wanted.states:
                raise EnoughError

        return read

    def recorder(self, layer: int) -> injection.Hook:
        """The hook that takes the states at the wanted site of a block, of one token of each query."""

        def record(hidden: torch.Tensor) -> None:
            # Queries branch off at a block's output, before it is recorded.
            _, _, (row, column), branch = self._source(layer + (self.wanted.site == "block"))
            self._keep("states", layer, hidden[row.to(hidden.device), column.to(hidden.device)], branch)
            if layer == self._n_layers - 1:
                raise EnoughError

        return record

    def _source(self, layer: int) -> tuple:
        return next(source for source in self._sources if layer < source[0] or source[0] == 0)

    def _keep(self, name: str, layer: int, values: torch.Tensor, branch: torch.Tensor | None) -> None:
        values = values.to(self._device, torch.float32)
        values = values if branch is None else values[branch]
        if name not in self._values:
            # All blocks at once: small tensors that stay would lie between the large ones that come and go, and split
            # the memory that these leave.
            # A block without attention leaves none.
            self._values[name] = values.new_full((len(values), self._n_layers, *values.shape[1:]), torch.nan)
        self._values[name][:, layer] = values

    def collect(self) -> dict[str, torch.Tensor]:
        """What was found, by its name in `Reading`, float32 [query, layer, ...], where the pass left it."""
        for name, values in self._values.items():
            if self.injected is not None and self.injected.broken.any():
                steering = self.injected.steering
                # Attention of the first steered block itself is computed before its vector is added.
                at_once = name == "states" and sites.reaches(steering.site, self.wanted.site)
                first = min(steering.scales(self._n_layers)) + (not at_once)
                values[self.injected.broken.to(values.device), first:] = torch.nan
        return self._values


def read_behind_prefix(adapter: Adapter, meter: Meter, heard: Heard, found: Found, keep: bool = False) -> None:
    """Prefixes once, and all that is left of the prompts side by side behind them.

    With `keep`, the prefixes' keys and values stay with what is heard, for passes that steer in other ways behind them.
    """
    groups, shared, rest = layout.split(found.queries)
    if keep and shared.n_tokens:
        tokens, audio, cache = rest, [], _kept_prefixes(adapter, meter, heard, found.queries, groups, shared)
    else:
        # Without a cache, so that keys and values live no longer than their block.
        tokens, audio, cache = layout.behind(shared, rest), heard.of_groups(groups, found.queries), None
        meter.tokens["prefill"] += shared.n_tokens
    found.read_from(tokens)
    hooks = []
    if found.injected is not None:
        steered = tokens.since([query.first_steered for query in found.queries])
        hooks = found.injected.hooks(adapter, steered, tokens.owner)
    with meter.stage("suffix" if found.injected is None else "steer", rest.n_tokens):
        _through(adapter, tokens, audio, layout.block_mask(rest.owner, groups), found, hooks, cache)


def _kept_prefixes(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: Sequence[Query],
    groups: Sequence[layout.Group],
    shared: Layout,
) -> Cache:
    """Keys and values of prefixes, which go through unless these stay with what is heard already."""
    heads = [queries[group.queries[0]] for group in groups]
    # With weights that were edited since, the same tokens have other keys and values.
    edits = sum(weight._version for weight in adapter.text_stack.parameters() if not weight.is_inference())
    key = (edits, *((head.recording, head.ids[: group.n_shared]) for head, group in zip(heads, groups, strict=True)))
    if key not in heard.prefixes:
        cache = with_room(adapter.n_layers, shared.input_ids.shape[1])
        prefill(adapter, meter, shared, heard.of_groups(groups, queries), cache)
        heard.prefixes[key] = kept(cache)
    return heard.prefixes[key]


def read_in_full(adapter: Adapter, meter: Meter, heard: Heard, found: Found) -> None:
    """Every prompt in a row of its own, without a mask: padding follows the tokens, which cannot see it."""
    queries = found.queries
    whole = layout.arrange([[(row, 0, len(query.ids))] for row, query in enumerate(queries)], queries)
    hooks, trunk, first_own = [], whole, 0
    if found.injected is not None:
        steering = found.injected.steering
        steered_all = steering.positions == "all"
        since = whole.since([query.first_steered for query in queries])
        hooks = found.injected.hooks(adapter, None if steered_all else since, None)
        # What is steered inside a block needs that block's own input.
        first_own = min(steering.scales(adapter.n_layers)) + (steering.site == "block")
        distinct = list(dict.fromkeys(queries))
        if first_own and len(distinct) < len(queries) and traits_of(adapter).branches:
            # Until the first vector is added, prompts that differ only in their vectors are one and the same.
            trunk = layout.arrange([[(row, 0, len(query.ids))] for row, query in enumerate(distinct)], distinct)
            branch = torch.tensor([distinct.index(query) for query in queries], device=adapter.device)
            place = sites.places(adapter, "block")[first_own - 1]
            hooks.insert(0, (place, lambda hidden: hidden[branch.to(hidden.device)]))
            found.read_from(trunk, distinct, branch, first_own)
            queries = distinct
    found.read_from(whole)
    n_tokens = sum(len(query.ids) for query in found.queries)
    with meter.stage("suffix" if found.injected is None else "steer", n_tokens):
        _through(adapter, trunk, [heard.audio[query.recording] for query in queries], None, found, hooks)


def _through(
    adapter: Adapter,
    tokens: Layout,
    audio: Sequence[torch.Tensor],
    mask: torch.Tensor | None,
    found: Found,
    hooks: list[tuple[sites.Place, injection.Hook]],
    cache: Cache | None = None,
) -> None:
    # Attached after the steering hooks, hence called after them: states are what comes next sees.
    recorders = []
    if found.wanted.states:
        places = sites.places(adapter, found.wanted.site)
        recorders = [(place, found.recorder(layer)) for layer, place in enumerate(places)]
    with injection.hooked(hooks + recorders):
        forward(adapter, tokens, audio, cache, mask, found.reader())


def join(parts: Sequence[torch.Tensor], order: list[int]) -> np.ndarray:
    """Rows of several passes, back in the order of the call; text and audio tokens padded with NaN to the longest.

    Only here a GPU is waited for: it goes on with one pass while the next one is prepared.
    """
    widest = np.max([part.shape[1:] for part in parts], axis=0)
    joined = np.full((len(order), *widest), np.nan, dtype=np.float32)
    start = 0
    for part in parts:
        rows = order[start : start + len(part)]
        joined[(rows, *map(slice, part.shape[1:]))] = part.cpu().numpy()
        start += len(part)
    return joined
