"""Greedy answers: prompts behind their shared prefixes in a key-value cache, then one token after the other."""

import contextlib
from collections.abc import Sequence

import torch
from transformers import Cache

from wheretolisten.engine import layout
from wheretolisten.engine.cache import with_room
from wheretolisten.engine.forward import EnoughError, Heard, forward
from wheretolisten.engine.layout import Group, Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.models.adapter import Adapter, Symbols


def generate(
    adapter: Adapter, meter: Meter, heard: Heard, queries: list[Query], max_new_tokens: int
) -> list[list[int]]:
    """Tokens that the model answers to each query, without the one that ends an answer."""
    cache, groups, behind = _prefill(adapter, meter, heard, queries, max_new_tokens)
    device, head = adapter.device, adapter.model.get_output_embeddings()
    with meter.stage("answer", behind.n_tokens):
        states = forward(adapter, behind, [], cache, layout.block_mask(behind.owner, groups))
        row, column = behind.row.to(states.device), behind.last(queries).to(states.device)
        last = states[row, column]
        # Every step has one column per query of a row; a query keeps its place in it.
        widest = max(len(group.queries) for group in groups)
        place = torch.tensor([list(group.queries) + [-1] * (widest - len(group.queries)) for group in groups])
        column = torch.tensor([group.queries.index(q) for q, group in _by_query(groups)], device=states.device)
        is_query, index = (place >= 0).to(device), place.clamp(min=0).to(device)
        length = torch.tensor([len(query.ids) for query in queries])
        ends = adapter.eos_token_ids
        is_end = torch.tensor(ends, device=device)
        owner, tokens = behind.owner, []
        done = torch.zeros(len(queries), dtype=torch.bool, device=device)
        while True:
            tokens.append(head(last.to(head.weight.device)).argmax(dim=-1).to(device))
            done |= torch.isin(tokens[-1], is_end)
            if len(tokens) == max_new_tokens or bool(done.all()):
                break
            owner = torch.cat([owner, place], dim=1)
            step = Layout(
                torch.where(is_query, tokens[-1][index], 0),
                (length + len(tokens) - 1)[place.clamp(min=0)],
                place,
                *torch.zeros(3, 0),
            )
            last = forward(adapter, step, [], cache, layout.block_mask(owner, groups, widest))[row, column]
    meter.tokens["answer"] += len(tokens) * len(queries)
    answers = torch.stack(tokens, dim=1).tolist()
    return [_until(ends, own) for own in answers]


def generate_one_by_one(
    adapter: Adapter, meter: Meter, heard: Heard, asked: Sequence[tuple[int, str]], max_new_tokens: int
) -> list[list[int]]:
    """The same by transformers' `generate`, for stacks with caches of other kinds; asked are recordings and prompts."""
    answers = []
    for index, prompt in asked:
        recording = heard.recordings[index]
        inputs = adapter.accepted(adapter.process(recording, prompt)) | dict(adapter.family.model_arguments)
        n_prompt, in_place = inputs["input_ids"].shape[1], contextlib.nullcontext()
        if isinstance(recording, Symbols):
            in_place = adapter.in_place(heard.audio[index], adapter.prepare([recording], [prompt]))
        with meter.stage("answer", n_prompt), in_place:
            found = adapter.model.generate(**inputs, max_new_tokens=max_new_tokens)[0, n_prompt:].tolist()
        meter.tokens["answer"] += len(found)
        answers.append(_until(adapter.eos_token_ids, found))
    return answers


def _until(ends: Sequence[int], tokens: list[int]) -> list[int]:
    """Tokens of an answer up to the first one that ends it, if there is one."""
    return tokens[: next((n for n, token in enumerate(tokens) if token in ends), len(tokens))]


def _prefill(
    adapter: Adapter, meter: Meter, heard: Heard, queries: list[Query], max_new_tokens: int
) -> tuple[Cache, list[Group], Layout]:
    """Shared prefixes, one row each, in a cache; the groups that share them; what is left of their queries.

    The cache has room for what is left, and for new tokens of every query.
    """
    groups, shared, behind = layout.split(queries)
    n_new = max_new_tokens * max(len(group.queries) for group in groups)
    cache = with_room(adapter.n_layers, shared.input_ids.shape[1] + behind.input_ids.shape[1] + n_new)

    def stop_after_keys(layer: int, *_: object) -> None:
        # The cache holds the last block's keys and values by now, and nobody reads what comes out of it.
        if layer == adapter.n_layers - 1:
            raise EnoughError

    # Prompts without audio may have nothing in common.
    if shared.n_tokens:
        with meter.stage("prefill", shared.n_tokens):
            forward(adapter, shared, heard.of_groups(groups, queries), cache, read=stop_after_keys)
    return cache, groups, behind


def _by_query(groups: Sequence[Group]) -> list[tuple[int, Group]]:
    return sorted(((query, group) for group in groups for query in group.queries), key=lambda pair: pair[0])
