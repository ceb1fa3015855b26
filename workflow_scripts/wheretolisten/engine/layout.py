"""Where the tokens of many prompts lie in one pass: what they share comes first and once, the rest side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from wheretolisten.engine.attention import Rows
from wheretolisten.models.adapter import AUDIO, Inputs, has_audio


@dataclass(frozen=True)
class Query:
    """One prompt about one recording, without padding; tokens are counted from its first.

    Attributes
    ----------
    ids
        Token ids, `AUDIO` for audio tokens.
    recording
        Index of the recording.
    audio_span
        First audio token and the one after the last; (0, 0) without audio.
    first_read, first_steered
        First token whose attention is read, or that is steered; both go on to the last token.
    state_at
        Token whose states are taken, if any are.
    """

    ids: tuple[int, ...]
    recording: int
    audio_span: tuple[int, int]
    first_read: int
    first_steered: int
    state_at: int

    @property
    def first_needed(self) -> int:
        """First token that is read or steered: prompts share at most the tokens before it."""
        return min(self.first_read, self.first_steered, self.state_at)


def queries_of(inputs: Inputs, first_read: torch.Tensor, first_steered: torch.Tensor | None) -> list[Query]:
    """The prompts of a padded batch; `first_read` and `first_steered` are columns of it, [row]. None: no steering."""
    queries = []
    for row, (start, last) in enumerate(zip(inputs.first.tolist(), inputs.last.tolist(), strict=True)):
        ids = inputs.input_ids[row, start : last + 1].tolist()
        first, after = inputs.audio_span[row].tolist()
        if has_audio(inputs.recordings[int(inputs.audio_index[row])]):
            before, behind = first - start, int(inputs.text_start[row]) - start
            ids[before:behind] = [AUDIO] * (behind - before)
        queries.append(
            Query(
                tuple(ids),
                int(inputs.audio_index[row]),
                (first - start, after - start),
                int(first_read[row]) - start,
                len(ids) if first_steered is None else int(first_steered[row]) - start,
                int(inputs.state_at[row]) - start,
            )
        )
    return queries


@dataclass(frozen=True)
class Group:
    """Queries (by index) that share their first `n_shared` tokens, the audio among them."""

    queries: tuple[int, ...]
    n_shared: int


def share_prefixes(queries: Sequence[Query]) -> list[Group]:
    """Queries about the same recording, with the longest prefix of tokens that they have in common.

    The prefix ends before the first token that is read or steered. Where it does not hold the audio (a template that
    puts the question first), every query is a group of its own.
    """
    by_recording: dict[int, list[int]] = {}
    for index, query in enumerate(queries):
        by_recording.setdefault(query.recording, []).append(index)
    groups = []
    for members in by_recording.values():
        n_shared = _common_prefix([queries[index] for index in members])
        if n_shared >= max(queries[index].audio_span[1] for index in members):
            groups.append(Group(tuple(members), n_shared))
        else:
            groups += [Group((index,), queries[index].first_needed) for index in members]
    return groups


def _common_prefix(queries: Sequence[Query]) -> int:
    n = min(query.first_needed for query in queries)
    first = queries[0].ids
    for query in queries[1:]:
        while query.ids[:n] != first[:n]:
            n = next(place for place in range(n) if query.ids[place] != first[place])
    return n


@dataclass(frozen=True, eq=False)
class Layout:
    """Tokens of a pass in rows and columns, padded on the right.

    Attributes
    ----------
    input_ids
        Token ids, 0 at padding, [row, column].
    position_ids
        Position of each token in its own prompt, [row, column].
    owner
        Query that a token belongs to, -1 at padding, [row, column].
    row, start, offset
        Of every query: its row, the column where it starts, and which of its tokens that is, [query].
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    owner: torch.Tensor
    row: torch.Tensor
    start: torch.Tensor
    offset: torch.Tensor

    @property
    def n_tokens(self) -> int:
        """Tokens without padding."""
        return int((self.owner >= 0).sum())

    def column(self, token: torch.Tensor) -> torch.Tensor:
        """Column of one token of each query, counted in its prompt, [query]."""
        return self.start + token - self.offset

    def last(self, queries: Sequence[Query]) -> torch.Tensor:
        """Column of the last token of each query, [query]."""
        return self.column(torch.tensor([len(query.ids) - 1 for query in queries]))

    def state_at(self, queries: Sequence[Query]) -> torch.Tensor:
        """Column of the token of each query whose states are taken, [query]."""
        return self.column(torch.tensor([query.state_at for query in queries]))

    def since(self, tokens: Sequence[int]) -> torch.Tensor:
        """True from the given token of each query on, [row, column]; never at padding."""
        return (self.owner >= 0) & (self.position_ids >= torch.tensor(tokens)[self.owner.clamp(min=0)])

    def rows_to_read(self, queries: Sequence[Query], device: torch.device) -> Rows:
        """What is read of each query: its tokens from `first_read` on, and its audio, whose columns are positions."""
        first = self.column(torch.tensor([query.first_read for query in queries])).tolist()
        last, row = self.last(queries).tolist(), self.row.tolist()
        columns: list[list[int]] = [[] for _ in self.input_ids]
        places = []
        for query in range(len(queries)):
            own = columns[row[query]]
            places.append((row[query], range(len(own), len(own) + last[query] - first[query] + 1)))
            own += range(first[query], last[query] + 1)
        widest, longest = max(map(len, columns)), max(len(own) for _, own in places)
        return Rows(
            torch.tensor([own + [0] * (widest - len(own)) for own in columns], device=device),
            torch.tensor(
                [[at * widest + n for n in own] + [-1] * (longest - len(own)) for at, own in places], device=device
            ),
            torch.tensor([query.audio_span for query in queries], device=device),
            max(after - first for first, after in (query.audio_span for query in queries)),
        )


def behind(shared: Layout, rest: Layout) -> Layout:
    """The same rows of two layouts in one pass: the prefixes of the first, padded, then the second, which it places."""
    return Layout(
        torch.cat([shared.input_ids, rest.input_ids], dim=1),
        torch.cat([shared.position_ids, rest.position_ids], dim=1),
        torch.cat([torch.full_like(shared.owner, -1), rest.owner], dim=1),
        rest.row,
        rest.start + shared.input_ids.shape[1],
        rest.offset,
    )


def split(queries: Sequence[Query]) -> tuple[list[Group], Layout, Layout]:
    """Queries that share a prefix; the prefixes, a row each; what is left of the queries, in the same rows."""
    groups = share_prefixes(queries)
    heads = [queries[group.queries[0]] for group in groups]
    rows = [[(index, group.n_shared, len(queries[index].ids)) for index in group.queries] for group in groups]
    prefixes = [[(row, 0, group.n_shared)] for row, group in enumerate(groups)]
    return groups, arrange(prefixes, heads), arrange(rows, queries)


def block_mask(
    owner: torch.Tensor, groups: Sequence[Group], n_last: int | None = None, branch: torch.Tensor | None = None
) -> torch.Tensor:
    """Whom the last `n_last` columns see: their row's prefix, and what belongs to the same query up to themselves.

    Parameters
    ----------
    owner
        Query of every column behind the prefixes, -1 at padding, which sees padding; [row, column].
    groups
        One per row.
    n_last
        None: all columns.
    branch
        Where a query goes on in several ways: which of them a column belongs to, and sees; -1 for what they have in
        common, [row, column]. None: no query does.

    Returns
    -------
    torch.Tensor
        bool [row, 1, column, key], keys being the prefixes' columns, then `owner`'s.
    """
    n_columns = owner.shape[1]
    n_last = n_columns if n_last is None else n_last
    n_shared = torch.tensor([group.n_shared for group in groups])
    prefix = torch.arange(int(n_shared.max())) < n_shared[:, None]
    own = owner[:, -n_last:, None] == owner[:, None, :]
    own &= torch.arange(n_columns - n_last, n_columns)[:, None] >= torch.arange(n_columns)
    if branch is not None:
        own &= (branch[:, None, :] < 0) | (branch[:, None, :] == branch[:, -n_last:, None])
    return torch.cat([prefix[:, None, :].expand(-1, n_last, -1), own], dim=2)[:, None]


def arrange(rows: Sequence[Sequence[tuple[int, int, int]]], queries: Sequence[Query]) -> Layout:
    """Put stretches of queries into rows: each row lists (query, first token, token after the last), side by side.

    Every query occurs once.
    """
    lengths = [sum(after - first for _, first, after in row) for row in rows]
    input_ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    position_ids, owner = torch.zeros_like(input_ids), torch.full_like(input_ids, -1)
    place = torch.zeros(3, len(queries), dtype=torch.long)
    for number, row in enumerate(rows):
        column = 0
        for query, first, after in row:
            here = slice(column, column + after - first)
            input_ids[number, here] = torch.tensor(queries[query].ids[first:after])
            position_ids[number, here] = torch.arange(first, after)
            owner[number, here] = query
            place[:, query] = torch.tensor([number, column, first])
            column += after - first
    return Layout(input_ids, position_ids, owner, *place)
