"""Greedy answers: prompts behind their shared prefixes in a key-value cache, then one token after the other."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import Cache

from wheretolisten.engine import layout
from wheretolisten.engine.cache import with_room
from wheretolisten.engine.forward import Heard, forward, prefill
from wheretolisten.engine.injection import Hook, Injection, hooked
from wheretolisten.engine.layout import Group, Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.models.adapter import Adapter, Symbols


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts that have gone through, and wait for what follows them.

    Attributes
    ----------
    cache
        Keys and values of the prefixes, then of what is left of the prompts.
    groups
        The queries that share each prefix, one row each.
    rest
        What is left of the queries.
    last
        State behind the final norm at the last token of each query, [query, hidden].
    """

    cache: Cache
    groups: list[Group]
    rest: Layout
    last: torch.Tensor


def ask(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: list[Query],
    n_further: Sequence[int],
    injected: Injection | None,
) -> Asked:
    """Take prompts through the text stack: what they share, one row each, into a cache, and what is left behind it.

    The cache has room for `n_further` columns of each query.
    """
    groups, shared, rest = layout.split(queries)
    n_new = max(sum(n_further[query] for query in group.queries) for group in groups)
    cache = with_room(adapter.n_layers, shared.input_ids.shape[1] + rest.input_ids.shape[1] + n_new)
    audio = heard.of_groups(groups, queries)
    # Prompts that are steered from their first token on share nothing, nor may those without audio.
    if shared.n_tokens:
        prefill(adapter, meter, shared, audio, cache)
        audio = []
    hooks = []
    if injected is not None:
        hooks = injected.hooks(adapter, rest.since([query.first_steered for query in queries]), rest.owner)
    # Padding follows prompts that stand alone in their rows, so that they need no mask.
    alone = not shared.n_tokens and len(groups) == len(queries)
    with meter.stage("answer", rest.n_tokens), hooked(hooks):
        states = forward(adapter, rest, audio, cache, None if alone else layout.block_mask(rest.owner, groups))
        return Asked(cache, groups, rest, states[rest.row.to(states.device), rest.last(queries).to(states.device)])


def generate(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: list[Query],
    max_new_tokens: int,
    injected: Injection | None = None,
) -> list[list[int]]:
    """Tokens that the model answers to each query, without the one that ends an answer."""
    asked = ask(adapter, meter, heard, queries, [max_new_tokens] * len(queries), injected)
    groups, last, device = asked.groups, asked.last, adapter.device
    head = adapter.head
    with meter.stage("answer"):
        row = asked.rest.row.to(last.device)
        # Every step has one column per query of a row; a query keeps its place in it.
        widest = max(len(group.queries) for group in groups)
        place = torch.tensor([list(group.queries) + [-1] * (widest - len(group.queries)) for group in groups])
        column = torch.tensor([group.queries.index(q) for q, group in _by_query(groups)], device=last.device)
        is_query, index = (place >= 0).to(device), place.clamp(min=0).to(device)
        length = torch.tensor([len(query.ids) for query in queries])
        ends = adapter.eos_token_ids
        is_end = torch.tensor(ends, device=device)
        owner, tokens = asked.rest.owner, []
        done = torch.zeros(len(queries), dtype=torch.bool, device=device)
        while True:
            tokens.append(head(last.to(head.weight.device)).argmax(dim=-1).to(device))
            done |= torch.isin(tokens[-1], is_end)
            if len(tokens) == max_new_tokens or bool(done.all()):
                break
            owner, n_before = torch.cat([owner, place], dim=1), len(tokens) - 1
            step = Layout(
                torch.where(is_query, tokens[-1][index], 0),
                (length + n_before)[place.clamp(min=0)],
                place,
                *torch.zeros(3, 0),
            )
            hooks = []
            if injected is not None:
                hooks = injected.hooks(adapter, place >= 0, place, torch.full_like(place, n_before))
            with hooked(hooks):
                states = forward(adapter, step, [], asked.cache, layout.block_mask(owner, groups, widest))
            last = states[row, column]
    meter.tokens["answer"] += len(tokens) * len(queries)
    answers = torch.stack(tokens, dim=1).tolist()
    return [_until(ends, own) for own in answers]


def generate_one_by_one(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    asked: Sequence[tuple[int, str]],
    max_new_tokens: int,
    injected: Sequence[tuple[Injection, int]] | None = None,
) -> list[list[int]]:
    """The same by transformers' `generate`, for stacks with caches of other kinds; asked are recordings and prompts.

    `injected` says how each is steered, and how many of its last tokens.
    """
    answers = []
    for number, (index, prompt) in enumerate(asked):
        recording = heard.recordings[index]
        inputs = adapter.accepted(adapter.process(recording, prompt)) | dict(adapter.family.model_arguments)
        n_prompt = inputs["input_ids"].shape[1]
        with contextlib.ExitStack() as around, meter.stage("answer", n_prompt):
            if isinstance(recording, Symbols):
                around.enter_context(adapter.in_place(heard.audio[index], adapter.prepare([recording], [prompt])))
            if injected is not None:
                around.enter_context(_steered_passes(adapter, *injected[number], n_prompt))
            found = adapter.model.generate(**inputs, max_new_tokens=max_new_tokens)[0, n_prompt:].tolist()
        meter.tokens["answer"] += len(found)
        answers.append(_until(adapter.eos_token_ids, found))
    return answers


@contextlib.contextmanager
def _steered_passes(adapter: Adapter, injected: Injection, n_steered: int, n_prompt: int) -> Iterator[None]:
    """Steer one query that another loop takes through the text stack: its prompt first, then one token after another.

    Hooks are attached anew before every pass of the text stack.
    """
    n_passes = 0
    with contextlib.ExitStack() as attached:

        def attach(*_: object) -> None:
            nonlocal n_passes
            attached.close()
            tokens = torch.ones(1, 1 if n_passes else n_prompt, dtype=torch.bool)
            owner, steps = torch.zeros_like(tokens, dtype=torch.long), None
            if n_passes:
                steps = torch.full_like(owner, n_passes - 1)
            else:
                tokens[:, : max(0, n_prompt - n_steered)] = False
            hooks = injected.hooks(adapter, tokens, owner, steps)
            attached.enter_context(hooked((place, _of_last(hook, tokens.shape[1])) for place, hook in hooks))
            n_passes += 1

        handle = adapter.text_stack.register_forward_pre_hook(attach)
        try:
            yield
        finally:
            handle.remove()


def _of_last(hook: Hook, n_tokens: int) -> Hook:
    """The hook where blocks may go on with the last of so many tokens, as those that share the keys of earlier ones."""

    def of_last(hidden: torch.Tensor) -> torch.Tensor:
        n_left_out = n_tokens - hidden.shape[1]
        return hook(torch.nn.functional.pad(hidden, (0, 0, n_left_out, 0)))[:, n_left_out:]

    return of_last


def _until(ends: Sequence[int], tokens: list[int]) -> list[int]:
    """Tokens of an answer up to the first one that ends it, if there is one."""
    return tokens[: next((n for n, token in enumerate(tokens) if token in ends), len(tokens))]


def _by_query(groups: Sequence[Group]) -> list[tuple[int, Group]]:
    return sorted(((query, group) for group in groups for query in group.queries), key=lambda pair: pair[0])
