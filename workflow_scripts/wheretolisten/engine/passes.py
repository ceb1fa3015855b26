"""The engine: what prompts leave behind at their last tokens and in their attention, and answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

from wheretolisten.config.probe import Steering
from wheretolisten.engine import answering, attention, choosing, continuations, injection, layout, reading, sites
from wheretolisten.engine.attention import Wanted
from wheretolisten.engine.batching import Batches
from wheretolisten.engine.forward import Heard
from wheretolisten.engine.injection import Injection
from wheretolisten.engine.layout import Query
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.traits import traits_of
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter, Inputs, Recording, Symbols, has_audio

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Reading:
    """What one call of `Engine.read` found; rows are prompts.

    Attributes
    ----------
    states
        State of every block at the last prompt token, or where `state_at` says, at the site that was asked for,
        float32 [row, layer, width]. The last block's output is taken before the final norm; what is steered, after
        steering. None unless asked for.
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


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """How likely a model finds given answers; rows are prompts, NaN beyond a row's own choices.

    Attributes
    ----------
    sums
        Natural logarithm of the probability of each choice as a whole, [row, choice]: the sum over its tokens.
    n_tokens
        Tokens of each choice, [row, choice]; 0 beyond a row's own.
    """

    sums: np.ndarray
    n_tokens: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """Sums divided by the number of tokens (length-normalised), [row, choice]."""
        return self.sums / np.where(self.n_tokens, self.n_tokens, 1)


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
        If the kernel cannot run here, or the model's attention is more than a softmax of scores.
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
        try:
            adapter.text_stack.set_attn_implementation(attention.KERNELS[kernel])
        except ValueError as error:  # attention with a cap, sinks or a bias is no softmax of scores
            message = str(error).partition(". ")[0]
            raise UserError(
                f"{adapter.name}: its attention cannot be read ({message}); choose another model"
            ) from error
        if adapter.device.type == "cuda":
            # cuDNN's attention makes a plan for every length that it meets, and lengths hardly recur.
            torch.backends.cuda.enable_cudnn_sdp(False)
        self.adapter = adapter
        self.text_rows = text_rows
        self.meter = Meter(adapter.device)
        self._share_prefix = share_prefix
        # A window of audio keeps all cores of a CPU busy by itself.
        self._recordings = Batches("recordings", 1 if adapter.device.type == "cpu" else max_rows)
        self._rows = Batches("prompts", max_rows)

    def hear(self, recordings: Sequence[Recording] | Heard) -> Heard:
        """Encode recordings, float32 [frame] each, 16 kHz mono; for several calls of `read` and `answer` about them.

        Symbols become embeddings of their words. Passages of text, and None, no audio at all, are left as they are.

        Raises
        ------
        UserError
            If one recording does not fit into memory.
        """
        if isinstance(recordings, Heard):
            return recordings
        sounds = [recording for recording in recordings if isinstance(recording, np.ndarray)]
        with self.meter.stage("encode"):
            parts = self._recordings.run(len(sounds), lambda part: self.adapter.encode(sounds[part]))
            symbols = [self.adapter.encode_symbols(each) for each in recordings if isinstance(each, Symbols)]
        encoded, of_words = (audio for part in parts for audio in part), iter(symbols)
        nothing = self.adapter.model.get_input_embeddings().weight.new_empty(0, self.adapter.hidden_size)
        audio = tuple(
            next(of_words if isinstance(recording, Symbols) else encoded) if has_audio(recording) else nothing
            for recording in recordings
        )
        return Heard(tuple(recordings), audio)

    def read(
        self,
        recordings: Sequence[Recording] | Heard,
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        want_states: bool = False,
        keep_text: bool = False,
        keep_heads: bool = False,
        want_head_mass: bool = False,
        want_audio_share: bool = False,
        site: str = "block",
        support: np.ndarray | None = None,
        state_at: Sequence[int | None] | None = None,
    ) -> Reading:
        """Run prompts about recordings through the text stack and read the attention of text to audio.

        Parameters
        ----------
        recordings
            float32 [frame] each, 16 kHz mono, or symbols in their place, or what `hear` made of them. A passage of text
            (str) stands in the audio's place, its tokens in those of the audio. None is no audio at all: the prompt
            stands alone, its attention is NaN.
        prompts
            One per row.
        audio_index
            Which recording each prompt is about; by default the one of the same index.
        vectors
            Steering vector of every row and block, as wide as the states at `steering.site`, [row, layer, width]; rows
            with NaN yield NaN from the first steered block on, other rows do not notice. None: no steering.
        steering
            How states are changed along the vectors; needed exactly if there are vectors. A support whose coordinates
            are scaled takes no vectors.
        want_states
            Whether to return the last-token states at `site`.
        keep_text
            Whether to return the attention of every text token instead of their sum; `text_tokens` names them.
        keep_heads
            Whether to return the attention of every head instead of their mean; not together with `keep_text`.
        want_head_mass
            Whether to return what each head's last prompt token gives to the audio.
        want_audio_share
            Whether to return what all tokens together give to the audio; every prompt then goes through in full.
        site
            Where states are taken, a name in `sites.SITES`; it need not be where they are steered.
        support
            1 or True at the coordinates that steering may change, the same for all rows, [layer, width], or for each,
            [row, layer, width]; nothing outside of it changes. None: all. See `injection.steer`.
        state_at
            Where states are taken: characters of each prompt up to the end of the token, such as the last one of a
            label's words. None: at the last token.

        Raises
        ------
        UserError
            If a recording does not fit the model (see `Adapter.prepare`), if its blocks do not have the site, or one
            prompt does not fit into memory.
        ValueError
            If vectors or support have the wrong shape, or come without a steering or the reverse; if both text tokens
            and heads are to be kept; if there is no such site.
        """
        known = recordings.recordings if isinstance(recordings, Heard) else recordings
        inputs = self.adapter.prepare(known, prompts, audio_index, state_at=state_at)
        wanted = Wanted(want_states, keep_text, keep_heads, want_head_mass, want_audio_share, site)
        return self._read(recordings, inputs, vectors, steering, support, wanted)

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
        site: str = "block",
        support: np.ndarray | None = None,
    ) -> Reading:
        """As `read`, from a prepared batch, padded on either side."""
        wanted = Wanted(want_states, keep_text, keep_heads, want_head_mass, want_audio_share, site)
        return self._read(inputs.recordings, inputs, vectors, steering, support, wanted)

    def attention_to(self, recording: np.ndarray, prompts: Sequence[str]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Attention of `read` as a function of the signal, through which gradients flow.

        Parameters
        ----------
        recording
            float32 [frame], 16 kHz mono: what signals are as long as.
        prompts
            About it.

        Returns
        -------
        Callable
            From a signal [frame] on the device to attention [prompt, layer, audio_token].

        Raises
        ------
        UserError
            As `read`; if the model's features are not those that gradients are taken through.
        """
        encode = self.adapter.encoder_like(recording)
        inputs = self.adapter.prepare([recording], prompts, [0] * len(prompts))
        queries = layout.queries_of(inputs, self._first_text(inputs), None)
        shared = self._share_prefix and traits_of(self.adapter).side_by_side
        run = reading.read_behind_prefix if shared else reading.read_in_full

        def attention(signal: torch.Tensor) -> torch.Tensor:
            found = reading.Found(queries, None, Wanted(), self.adapter)
            run(self.adapter, self.meter, Heard((recording,), (encode(signal),)), found)
            return found.collect()["attention"]

        return attention

    @torch.inference_mode()
    def answer(
        self,
        recordings: Sequence[Recording] | Heard,
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        max_new_tokens: int = 64,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        support: np.ndarray | None = None,
    ) -> list[str]:
        """Greedy answers, one per prompt, without special tokens; the same as those of transformers' `generate`.

        Parameters
        ----------
        recordings, prompts, audio_index
            As in `read`.
        max_new_tokens
            Tokens of an answer, at most.
        vectors, steering, support
            As in `read`; `steering.decoding` says which tokens of the answer are steered.

        Raises
        ------
        UserError
            As `read`.
        ValueError
            As `read`; if vectors hold NaN, which has no answer.
        """
        vectors, support = self._check_vectors(len(prompts), vectors, steering, support)
        if vectors is not None and np.isnan(vectors).any():
            rows = np.isnan(vectors).any(axis=(1, 2)).nonzero()[0].tolist()
            raise ValueError(f"vectors of the rows {rows} hold NaN, and nothing is answered then; leave these rows out")
        heard = self.hear(recordings)
        queries = self._asked(heard, prompts, audio_index, steering)
        if not traits_of(self.adapter).plain:
            injected = None
            if steering is not None:
                injected = [
                    (self._injected([row], vectors, steering, support), len(query.ids) - query.first_steered)
                    for row, query in enumerate(queries)
                ]
            asked = [(query.recording, prompt) for query, prompt in zip(queries, prompts, strict=True)]
            tokens = answering.generate_one_by_one(self.adapter, self.meter, heard, asked, max_new_tokens, injected)
            return self.adapter.tokenizer.batch_decode(tokens, skip_special_tokens=True)

        def generate(members: list[int]) -> list[list[int]]:
            injected = self._injected(members, vectors, steering, support)
            asked = [queries[query] for query in members]
            return answering.generate(self.adapter, self.meter, heard, asked, max_new_tokens, injected)

        rows = [group.queries for group in layout.share_prefixes(queries)]
        return self.adapter.tokenizer.batch_decode(self._by_row(rows, generate), skip_special_tokens=True)

    @torch.inference_mode()
    def choose(
        self,
        recordings: Sequence[Recording] | Heard,
        prompts: Sequence[str],
        choices: Sequence[Sequence[str]],
        audio_index: Sequence[int] | None = None,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        support: np.ndarray | None = None,
    ) -> Likelihoods:
        """Log-probabilities of given answers to each prompt, whole texts without the token that ends an answer.

        Parameters
        ----------
        recordings, prompts, audio_index
            As in `read`.
        choices
            The answers that each prompt has, [row][choice]; rows may have different numbers of them.
        vectors, steering, support
            As in `read`; rows with NaN yield NaN. Tokens of a choice are steered as `steering.decoding` says of those
            of an answer.

        Raises
        ------
        UserError
            As `read`; if a row has no choices, or a choice no tokens; if the model's logits are made otherwise.
        ValueError
            As `read`; if there are not as many rows of choices as prompts.
        """
        vectors, support = self._check_vectors(len(prompts), vectors, steering, support)
        if not self.adapter.scores:
            raise UserError(
                f"{self.adapter.name}: its logits are not what its head makes of its states, so that likelihoods of "
                "choices would be wrong; choose another model, or let this one answer"
            )
        if len(choices) != len(prompts):
            raise ValueError(f"choices of {len(choices)} rows for {len(prompts)} prompts")
        tokens = [
            [self.adapter.continuation(prompt, choice) for choice in own]
            for prompt, own in zip(prompts, choices, strict=True)
        ]
        for row, own in enumerate(tokens):
            if not own or () in own:
                raise UserError(
                    f"row {row} has {'an empty choice' if own else 'no choices'} ({list(choices[row])}); each prompt "
                    "takes at least one choice, of at least one word"
                )
        heard = self.hear(recordings)
        queries = self._asked(heard, prompts, audio_index, steering)
        plain = traits_of(self.adapter).plain and self._share_prefix
        score = choosing.score if plain else choosing.score_in_full

        def score_rows(members: list[int]) -> list[list[float]]:
            injected = self._injected(members, vectors, steering, support)
            asked, of_row = [queries[query] for query in members], [tokens[query] for query in members]
            return score(self.adapter, self.meter, heard, asked, of_row, injected)

        groups = layout.share_prefixes(queries) if plain else []
        rows = [group.queries for group in groups] or [(query,) for query in range(len(queries))]
        n_most = max(map(len, tokens))
        sums, n_tokens = np.full((len(queries), n_most), np.nan), np.zeros((len(queries), n_most), dtype=int)
        for row, found in enumerate(self._by_row(rows, score_rows, n_most)):
            broken = vectors is not None and np.isnan(vectors[row]).any()
            sums[row, : len(found)] = np.nan if broken else found
            n_tokens[row, : len(found)] = [len(choice) for choice in tokens[row]]
        return Likelihoods(sums, n_tokens)

    @torch.inference_mode()
    def states_of(
        self,
        recordings: Sequence[Recording] | Heard,
        prompts: Sequence[str],
        answers: Sequence[str],
        audio_index: Sequence[int] | None = None,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        support: np.ndarray | None = None,
        site: str = "block",
    ) -> list[np.ndarray]:
        """States at the tokens of given answers, one per prompt, float32 [layer, token, width] each.

        Parameters
        ----------
        recordings, prompts, audio_index, vectors, steering, support
            As in `choose`.
        answers
            What continues each prompt, scored as `choose` scores a choice; the token that ends an answer is left out.
        site
            Where states are taken, a name in `sites.SITES` that lies in blocks.

        Raises
        ------
        UserError, ValueError
            As `choose`.
        """
        if not sites.named(site).in_block:
            raise ValueError(f"states of blocks are taken inside of them, and {site} lies behind the last one")
        found = self._continue(
            recordings, prompts, answers, audio_index, vectors, steering, support, continuations.states, site
        )
        return [each.numpy() for each in found]

    @torch.inference_mode()
    def predict(
        self,
        recordings: Sequence[Recording] | Heard,
        prompts: Sequence[str],
        answers: Sequence[str],
        audio_index: Sequence[int] | None = None,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        support: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Natural logarithms of the probabilities of the whole vocabulary before each token of given answers.

        One array per prompt, float32 [token, vocabulary]: row n is what the model expects of the n-th token, given the
        prompt and the answer's tokens before it. Parameters and errors are those of `states_of`.
        """
        if not self.adapter.scores:
            raise UserError(
                f"{self.adapter.name}: its logits are not what its head makes of its states, so that likelihoods would "
                "be wrong; choose another model, or let this one answer"
            )
        found = self._continue(
            recordings, prompts, answers, audio_index, vectors, steering, support, continuations.predictions
        )
        return [each.numpy() for each in found]

    def _continue(
        self,
        recordings: Sequence[Recording] | Heard,
        prompts: Sequence[str],
        answers: Sequence[str],
        audio_index: Sequence[int] | None,
        vectors: np.ndarray | None,
        steering: Steering | None,
        support: np.ndarray | None,
        function: Callable[..., list[torch.Tensor]],
        *arguments: str,
    ) -> list[torch.Tensor]:
        vectors, support = self._check_vectors(len(prompts), vectors, steering, support)
        if len(answers) != len(prompts):
            raise ValueError(f"{len(answers)} answers for {len(prompts)} prompts")
        tokens = [self.adapter.continuation(*each) for each in zip(prompts, answers, strict=True)]
        for row, of_row in enumerate(tokens):
            if not of_row:
                raise UserError(f"row {row} has an empty answer to {prompts[row]!r}; each takes at least one word")
        heard = self.hear(recordings)
        queries = self._asked(heard, prompts, audio_index, steering)

        def run(members: list[int]) -> list[torch.Tensor]:
            injected = self._injected(members, vectors, steering, support)
            asked, of_rows = [queries[query] for query in members], [tokens[query] for query in members]
            return function(self.adapter, self.meter, heard, asked, of_rows, injected, *arguments)

        return self._by_row([(query,) for query in range(len(queries))], run)

    def _asked(
        self,
        heard: Heard,
        prompts: Sequence[str],
        audio_index: Sequence[int] | None,
        steering: Steering | None,
    ) -> list[Query]:
        """Prompts of which nothing is read but what follows them."""
        inputs = self.adapter.prepare(heard.recordings, prompts, audio_index)
        steered_from = None if steering is None else injection.first_steered(inputs, steering.positions)
        # What counts as read is not shared.
        return layout.queries_of(inputs, inputs.last if self._share_prefix else inputs.first, steered_from)

    def _by_row(
        self, rows: Sequence[Sequence[int]], function: Callable[[list[int]], list[T]], n_each: int = 1
    ) -> list[T]:
        """What a function makes of all queries, in their order; those of a row go through together.

        A query counts for `n_each` prompts.
        """

        def run(part: slice) -> dict[int, T]:
            members = [query for row in rows[part] for query in row]
            return dict(zip(members, function(members), strict=True))

        parts = self._rows.run(len(rows), run, max(map(len, rows)) * n_each)
        found = {query: of_query for part in parts for query, of_query in part.items()}
        return [found[query] for query in range(len(found))]

    def text_tokens(self, inputs: Inputs) -> list[list[str]]:
        """The text tokens whose attention is read, each decoded by itself, by row of a prepared batch."""
        spans = zip(inputs.input_ids, self._first_text(inputs).tolist(), inputs.last.tolist(), strict=True)
        decode = self.adapter.tokenizer.decode
        return [[decode(token) for token in ids[first : last + 1].tolist()] for ids, first, last in spans]

    def describe(
        self, steering: Steering | None, recording: Recording, prompt: str, max_new_tokens: int | None = None
    ) -> str:
        """What is steered and read, in words for a log, with the tokens of one prompt as the example.

        With `max_new_tokens`: what is answered instead of read, and which tokens of an answer are steered.
        """
        inputs = self.adapter.prepare([recording], [prompt])
        (first, after), last = inputs.audio_span[0].tolist(), int(inputs.last[0])
        audio = f"the audio tokens {first}-{after - 1}, at {self.adapter.tokens_per_second:g} audio tokens per second"
        if not isinstance(recording, np.ndarray):
            what = "that stand for words" if isinstance(recording, Symbols) else "of the passage"
            audio = "no audio tokens" if recording is None else f"the tokens {first}-{after - 1} {what}"
        if steering is None:
            lines = ["nothing is steered"]
        else:
            steered = range(int(injection.first_steered(inputs, steering.positions)[0]), last + 1)
            lines = [
                injection.describe(steering, self.adapter.n_layers),
                f"steered tokens of the prompt {prompt!r}: {injection.ranges(steered)} of 0-{last}",
            ]
        if max_new_tokens is not None:
            if steering is not None:
                lines.append(f"steered tokens of an answer: {injection.describe_decoding(steering)}")
            lines.append(
                f"answers of at most {max_new_tokens} tokens, greedy, to the prompt {prompt!r}: "
                f"tokens 0-{last}, with {audio}"
            )
            return "\n".join(lines)
        start = int(self._first_text(inputs)[0])
        read = self.adapter.tokenizer.decode(inputs.input_ids[0, start : last + 1])
        lines.append(f"attention is read from tokens {injection.ranges(range(start, last + 1))} ({read!r}) to {audio}")
        return "\n".join(lines)

    def _first_text(self, inputs: Inputs) -> torch.Tensor:
        if self.text_rows == "last":
            return inputs.last
        # Without audio there is no attention to read, so prompts may share all that comes before their last tokens.
        return torch.where(inputs.n_audio_tokens > 0, inputs.text_start, inputs.last)

    @torch.inference_mode()
    def _read(
        self,
        recordings: Sequence[Recording] | Heard,
        inputs: Inputs,
        vectors: np.ndarray | None,
        steering: Steering | None,
        support: np.ndarray | None,
        wanted: Wanted,
    ) -> Reading:
        if wanted.keep_text and wanted.keep_heads:
            raise ValueError("keep_text and keep_heads exclude each other")
        for site, what in ((wanted.site, "read"), (steering.site if steering else "", "steered")):
            if site and not sites.named(site).in_block:
                raise UserError(
                    f"attention and states of blocks come before the site {site}, which is not {what} with them; name "
                    "another site, such as block"
                )
        sites.width(self.adapter, wanted.site)
        vectors, support = self._check_vectors(len(inputs.input_ids), vectors, steering, support)
        heard = self.hear(recordings)
        steered_from = None if steering is None else injection.first_steered(inputs, steering.positions)
        queries = layout.queries_of(inputs, self._first_text(inputs), steered_from)
        in_full = not self._share_prefix or wanted.audio_share or not traits_of(self.adapter).side_by_side
        in_full |= steering is not None and steering.positions == "all"
        rows = [(n,) for n in range(len(queries))]
        if not in_full:
            rows = [group.queries for group in layout.share_prefixes(queries)]

        # Who heard the recordings beforehand may steer in several ways behind the same prefixes.
        keep = steering is not None and heard is recordings and traits_of(self.adapter).plain

        def read(part: slice) -> dict[str, torch.Tensor]:
            members = [query for row in rows[part] for query in row]
            asked = [queries[query] for query in members]
            injected = self._injected(members, vectors, steering, support)
            found = reading.Found(asked, injected, wanted, self.adapter)
            try:
                if in_full:
                    reading.read_in_full(self.adapter, self.meter, heard, found)
                else:
                    reading.read_behind_prefix(self.adapter, self.meter, heard, found, keep)
            except RuntimeError:
                # Smaller batches after memory ran out have prefixes of their own.
                heard.prefixes.clear()
                raise
            return found.collect()

        parts = self._rows.run(len(rows), read, max(map(len, rows)))
        order = [query for row in rows for query in row]
        found = {name: reading.join([part[name] for part in parts], order) for name in parts[0]}
        return Reading(n_audio_tokens=inputs.n_audio_tokens.numpy(), **({"states": None} | found))

    def _injected(
        self, rows: list[int], vectors: np.ndarray | None, steering: Steering | None, support: np.ndarray | None
    ) -> Injection | None:
        """How some rows of a call are steered."""
        if steering is None:
            return None
        own = torch.as_tensor(vectors[rows], dtype=torch.float32)
        inside = None if support is None else torch.as_tensor(support[rows], dtype=torch.bool)
        return Injection.of(own, steering, inside, self.adapter.device)

    def _check_vectors(
        self, n_rows: int, vectors: np.ndarray | None, steering: Steering | None, support: np.ndarray | None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Vectors and support, [row, layer, width] each, or a ValueError."""
        if steering is not None and steering.operator == "cap" and support is None:
            raise ValueError("operator cap is about the coordinates of a support; pass one, or another operator")
        scales_support = steering is not None and steering.operator in ("scale", "cap") and support is not None
        if (vectors is None) != (steering is None or scales_support):
            raise ValueError("vectors and steering belong together; a support that is scaled takes no vectors")
        if steering is None:
            if support is not None:
                raise ValueError("a support says what steering may change; pass a steering, too, or no support")
            return None, None
        expected = (n_rows, self.adapter.n_layers, sites.width(self.adapter, steering.site))
        if scales_support:
            if steering.preserve_norm:
                raise ValueError(
                    f"preserve_norm: true would undo operator {steering.operator} inside a support; set preserve_norm: "
                    "false"
                )
            vectors = np.broadcast_to(np.float32(0), expected)
        if vectors.shape != expected:
            raise ValueError(
                f"vectors of shape {vectors.shape} for {expected} (row, layer, width at site {steering.site})"
            )
        if support is None:
            return vectors, None
        if support.shape not in (expected, expected[1:]) or not np.isin(support, (0, 1)).all():
            raise ValueError(
                f"a support of shape {support.shape} for {expected[1:]} or {expected} (row, layer, width at site "
                f"{steering.site}); pass zeros and ones of one of these shapes"
            )
        return vectors, np.broadcast_to(support, expected)
