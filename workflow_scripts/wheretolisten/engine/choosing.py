"""Log-probabilities of given answers: what continues a prompt stands side by side behind it."""

from collections.abc import Sequence

import torch

from wheretolisten.engine import answering, continuations, layout
from wheretolisten.engine.forward import Heard, forward
from wheretolisten.engine.injection import Injection, hooked
from wheretolisten.engine.layout import Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.models.adapter import Adapter

_CHUNK = 128
"""States that are made into logits at the same time: a vocabulary is wide."""

Choice = tuple[int, ...]
"""Tokens of one continuation, at least one."""


def score(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: list[Query],
    choices: Sequence[Sequence[Choice]],
    injected: Injection | None,
) -> list[list[float]]:
    """Log-probability of every choice of every query, summed over its tokens; a prompt goes through once.

    A choice's tokens but the last are taken in as those of an answer are, the n-th of them at decoding step n.
    """
    n_further = [sum(len(choice) - 1 for choice in own) for own in choices]
    asked = answering.ask(adapter, meter, heard, queries, n_further, injected)
    tokens, branch, steps, columns = _side_by_side(asked.groups, queries, choices)
    states = None
    if tokens.n_tokens:
        rest, hooks = asked.rest.owner, []
        if injected is not None:
            hooks = injected.hooks(adapter, tokens.owner >= 0, tokens.owner, steps)
        mask = layout.block_mask(
            torch.cat([rest, tokens.owner], dim=1),
            asked.groups,
            tokens.owner.shape[1],
            torch.cat([torch.full_like(rest, -1), branch], dim=1),
        )
        with meter.stage("answer", tokens.n_tokens), hooked(hooks):
            states = forward(adapter, tokens, [], asked.cache, mask)
    before = []
    for query, own in enumerate(choices):
        row = int(tokens.row[query])
        for choice, column in zip(own, columns[query], strict=True):
            before.append(asked.last[query, None])
            if len(choice) > 1:
                before[-1] = torch.cat([before[-1], states[row, column : column + len(choice) - 1]])
    return _sums(adapter, before, choices)


def score_in_full(
    adapter: Adapter,
    meter: Meter,
    heard: Heard,
    queries: list[Query],
    choices: Sequence[Sequence[Choice]],
    injected: Injection | None,
) -> list[list[float]]:
    """The same with every choice behind its prompt in a row of its own, for stacks of any kind: nothing is shared."""
    owner = [query for query, own in enumerate(choices) for _ in own]
    before = [choice[:-1] for own in choices for choice in own]
    rows = continuations.rows_of(adapter, [queries[query] for query in owner], before, owner, injected)
    states = continuations.through(adapter, meter, heard, rows)
    spans = [slice(n - 1, len(query.ids)) for n, query in zip(rows.n_prompt, rows.queries, strict=True)]
    return _sums(adapter, [states[row, span] for row, span in enumerate(spans)], choices)


def _side_by_side(
    groups: Sequence[layout.Group], queries: Sequence[Query], choices: Sequence[Sequence[Choice]]
) -> tuple[Layout, torch.Tensor, torch.Tensor, list[list[int]]]:
    """All tokens of choices but the last ones, in the rows of their queries.

    Returns
    -------
    tokens
        Where they lie; its offsets mean nothing.
    branch, steps
        Which choice each belongs to, -1 at padding, and its place in it, [row, column].
    columns
        Column of the first token of each choice of each query.
    """
    places: list[list[tuple[int, int, int, int]]] = []
    columns: list[list[int]] = [[] for _ in queries]
    n_choices, row_of = 0, torch.zeros(len(queries), dtype=torch.long)
    for row, group in enumerate(groups):
        places.append([])
        for query in group.queries:
            row_of[query] = row
            for choice in choices[query]:
                columns[query].append(len(places[row]))
                places[row] += [(token, query, n_choices, step) for step, token in enumerate(choice[:-1])]
                n_choices += 1
    widest = max(map(len, places))
    padded = torch.tensor([own + [(0, -1, -1, 0)] * (widest - len(own)) for own in places], dtype=torch.long)
    ids, owner, branch, steps = padded.reshape(len(groups), widest, 4).unbind(dim=2)
    lengths = torch.tensor([len(query.ids) for query in queries])
    tokens = Layout(ids, lengths[owner.clamp(min=0)] + steps, owner, row_of, *torch.zeros(2, len(queries)))
    return tokens, branch, steps, columns


def _sums(adapter: Adapter, before: Sequence[torch.Tensor], choices: Sequence[Sequence[Choice]]) -> list[list[float]]:
    """Sums of log-probabilities, from the states that come before the tokens of each choice, [token, hidden] each."""
    flat = [choice for own in choices for choice in own]
    states = torch.cat(list(before))
    tokens = torch.tensor([token for choice in flat for token in choice])
    found = []
    for part, targets in zip(states.split(_CHUNK), tokens.split(_CHUNK), strict=True):
        logits = adapter.logits(part)
        chosen = logits.gather(1, targets.to(logits.device)[:, None])[:, 0]
        found.append((chosen - logits.logsumexp(dim=1)).double().cpu())
    sums = iter([part.sum().item() for part in torch.cat(found).split([len(choice) for choice in flat])])
    return [[next(sums) for _ in own] for own in choices]
