"""Prompts with given answers behind them, each in a row of its own: what every token of an answer is and leaves."""

import dataclasses
from collections.abc import Sequence

import torch

from wheretolisten.engine import layout, sites
from wheretolisten.engine.forward import Heard, forward
from wheretolisten.engine.injection import Hook, Injection, hooked
from wheretolisten.engine.layout import Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.sites import Place
from wheretolisten.models.adapter import Adapter

Tokens = tuple[int, ...]
"""Tokens of one continuation, at least one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Prompts and what continues them, nothing shared, so that stacks of any kind take them.

    Attributes
    ----------
    queries
        Prompt and continuation as one, one per row.
    tokens
        Where they lie.
    n_prompt
        Tokens of the prompt alone, [row].
    hooks
        How they are steered: a prompt as its query says, a continuation as the tokens of an answer, the n-th of them at
        decoding step n.
    """

    queries: list[Query]
    tokens: Layout
    n_prompt: list[int]
    hooks: list[tuple[Place, Hook]]


def rows_of(
    adapter: Adapter,
    queries: Sequence[Query],
    continuations: Sequence[Tokens],
    owner: Sequence[int],
    injected: Injection | None,
) -> Rows:
    """Rows of queries, one for each continuation; `owner` says whose steering a row gets, [row]."""
    whole = [
        dataclasses.replace(query, ids=query.ids + further)
        for query, further in zip(queries, continuations, strict=True)
    ]
    tokens = layout.arrange([[(row, 0, len(query.ids))] for row, query in enumerate(whole)], whole)
    n_prompt = torch.tensor([len(query.ids) for query in queries])
    hooks = []
    if injected is not None:
        of_prompt = tokens.position_ids < n_prompt[:, None]
        of_query = torch.tensor(owner)[:, None].expand_as(tokens.owner)
        since = tokens.since([query.first_steered for query in whole])
        hooks = injected.hooks(adapter, since & of_prompt, of_query)
        steps = tokens.position_ids - n_prompt[:, None]
        hooks += injected.hooks(adapter, (tokens.owner >= 0) & ~of_prompt, of_query, steps)
    return Rows(whole, tokens, n_prompt.tolist(), hooks)


def through(
    adapter: Adapter, meter: Meter, heard: Heard, rows: Rows, recorders: Sequence[tuple[Place, Hook]] = ()
) -> torch.Tensor:
    """States behind the final norm, [row, column, hidden]; recorders are called after what steers."""
    audio = [heard.audio[query.recording] for query in rows.queries]
    with meter.stage("answer", rows.tokens.n_tokens), hooked([*rows.hooks, *recorders]):
        return forward(adapter, rows.tokens, audio)


def states(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: Sequence[Query],
    continuations: Sequence[Tokens],
    injected: Injection | None,
    site: str,
) -> list[torch.Tensor]:
    """States at the tokens of each continuation, at a site of every block, float32 [layer, token, width] each."""
    rows = rows_of(adapter, queries, continuations, range(len(queries)), injected)
    spans = [slice(n, len(query.ids)) for n, query in zip(rows.n_prompt, rows.queries, strict=True)]
    found: list[list[torch.Tensor]] = [[] for _ in queries]

    def record(hidden: torch.Tensor) -> None:
        for row, span in enumerate(spans):
            found[row].append(hidden[row, span].float().cpu())

    through(adapter, meter, heard, rows, [(place, record) for place in sites.places(adapter, site)])
    return [torch.stack(of_row) for of_row in found]


def predictions(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: Sequence[Query],
    continuations: Sequence[Tokens],
    injected: Injection | None,
) -> list[torch.Tensor]:
    """Log-probabilities of the whole vocabulary before each token of a continuation, [token, vocabulary] each."""
    rows = rows_of(adapter, queries, [further[:-1] for further in continuations], range(len(queries)), injected)
    hidden = through(adapter, meter, heard, rows)
    return [
        torch.log_softmax(adapter.logits(hidden[row, n - 1 : len(query.ids)]), dim=-1).cpu()
        for row, (n, query) in enumerate(zip(rows.n_prompt, rows.queries, strict=True))
    ]
