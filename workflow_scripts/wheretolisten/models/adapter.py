"""What the engine needs from a model: prompts and audio in, token embeddings and the blocks of the text stack out."""

import contextlib
import functools
import inspect
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import nn
from transformers import BatchEncoding, BatchFeature, GenerationConfig, PreTrainedModel, WhisperFeatureExtractor

from wheretolisten.clips.randomness import generator
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.models.families import Family
from wheretolisten.models.features import LOG_MEL_TOLERANCE, log_mel

_NO_QUESTION = "?"
"""Conversations need some words."""

AUDIO = -1
"""Stands for every audio token in the token ids of `layout` and `Adapter.embed`: the tokenizer's own may be that of
padding, or lie outside the vocabulary."""


@dataclass(frozen=True)
class Symbols:
    """Words in the place of audio: where a word sounds, audio tokens are the model's own embeddings of it, in noise.

    Attributes
    ----------
    spans
        Words, the first audio token that they sound in, and the one after the last; where several overlap, they add up.
    n_tokens
        Number of audio tokens.
    noise
        Standard deviation of the Gaussian noise in all audio tokens, relative to the root mean square of the words'
        embeddings.
    stream
        Names the noise: equal streams have equal noise, different ones independent noise.
    """

    spans: tuple[tuple[str, int, int], ...]
    n_tokens: int
    noise: float
    stream: tuple[str | int, ...]


Recording = np.ndarray | Symbols | str | None
"""What a prompt is about: audio, float32 [frame], 16 kHz mono; symbols in its place; a passage of text, which stands
before the prompt as audio would; or nothing at all."""


def has_audio(recording: Recording) -> bool:
    """Whether a recording has audio tokens of its own, whose embeddings are not those of its token ids."""
    return isinstance(recording, np.ndarray | Symbols)


def silence_like(recording: np.ndarray | Symbols) -> np.ndarray | Symbols:
    """Silence of the length of a recording: zeros, in audio as in the embeddings of symbols."""
    if isinstance(recording, Symbols):
        return replace(recording, spans=(), noise=0.0)
    return np.zeros_like(recording)


@dataclass(frozen=True, eq=False)
class Inputs:
    """A padded batch of prompts, each about one of the batch's recordings; tensors lie on the CPU.

    Attributes
    ----------
    input_ids
        Token ids, [row, token].
    attention_mask
        1 for tokens of the prompt, 0 for padding, [row, token].
    audio_index
        Which recording a row is about, [row].
    audio_span
        First audio token and the index after the last one of the recording, [row, 2]; begin and end markers and padding
        lie outside. Of a passage, its tokens. Without either both are the first prompt token.
    text_start
        Index of the first token after the audio, [row]; it may be the end-of-audio marker. Where a family pads audio,
        the padding lies before it.
    last
        Index of the last prompt token, [row].
    state_at
        Index of the token whose states are taken, [row]; by default the last.
    recordings
        What the prompts are about.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    audio_index: torch.Tensor
    audio_span: torch.Tensor
    text_start: torch.Tensor
    last: torch.Tensor
    state_at: torch.Tensor
    recordings: tuple[Recording, ...]

    @property
    def first(self) -> torch.Tensor:
        """Index of the first prompt token, [row]."""
        return self.attention_mask.argmax(dim=1)

    @property
    def n_audio_tokens(self) -> torch.Tensor:
        """Number of audio tokens of the recording, [row]."""
        return self.audio_span[:, 1] - self.audio_span[:, 0]


class _ReachedError(Exception):
    """Ends a pass at the door of the text stack."""


class Adapter:
    """A model behind the interface that the engine uses: an audio-language model, or a language model without ears.

    No audio tower, projector or count of tokens is named here: the processor expands the placeholder of a recording,
    and the embeddings of its tokens are what the whole model brings to the door of its text stack.

    Parameters
    ----------
    name
        How errors call the model: its folder or repository id.
    model
        The loaded model, on its device.
    processor
        The processor that belongs to it, or the tokenizer of a model that reads text only.
    family
        What is known of its type.

    Attributes
    ----------
    hears
        Whether it takes recordings.
    scores
        Whether likelihoods may be read: False where the self-check finds that its logits are made otherwise.
    shares
        Whether prompts that share a prefix may go through behind it; the self-check says where they may not.

    Raises
    ------
    UserError
        If the tokenizer belongs to another model.
    """

    def __init__(self, name: str, model: nn.Module, processor: Any, family: Family) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.processor = processor
        self.family = family
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self._placeholder = getattr(processor, "audio_token", None)
        self.hears = self._placeholder is not None
        self.shares = self.scores = True
        self._audio_id = self._find_audio_id() if self.hears else None
        # A tokenizer keeps the padding of the call in flight for all of its threads.
        self._one_at_a_time = threading.RLock()
        self._counts: dict[int, int] = {}
        self._expansions: dict[int, str] = {}
        defaults = model.generation_config
        eos = self.tokenizer.eos_token_id if defaults.eos_token_id is None else defaults.eos_token_id
        pad = self.tokenizer.pad_token_id
        if pad is None:  # of a language model that was never trained in batches
            self.tokenizer.pad_token = self.tokenizer.eos_token
            pad = self.tokenizer.pad_token_id
        # Checkpoints bring sampling defaults (temperature, top-p, repetition penalty) that greedy decoding must not
        # see.
        model.generation_config = GenerationConfig(do_sample=False, num_beams=1, eos_token_id=eos, pad_token_id=pad)

    def _find_audio_id(self) -> int:
        own = getattr(self.processor, "audio_token_id", None) or self.tokenizer.convert_tokens_to_ids(self._placeholder)
        config = self.model.config
        expected = getattr(config, "audio_token_id", None)
        if expected is None:  # Phi-4 keeps it with the audio part
            expected = getattr(getattr(config, "audio_config", None), "audio_token_id", own)
        if own != expected:
            raise UserError(
                f"{self.name}: the tokenizer does not know the model's audio token {self._placeholder!r}; "
                "use the tokenizer files that belong to the weights"
            )
        return own

    @property
    def max_seconds(self) -> float | None:
        """Longest recording that the model hears as a whole, in seconds; None: no end is known."""
        if self.family.max_seconds is not None:
            return self.family.max_seconds
        found = getattr(self.processor, "max_audio_len", None)
        return getattr(self._extractor, "chunk_length", None) if found is None else found

    @property
    def _extractor(self) -> Any:
        return self.processor._audio_processor

    @property
    def device(self) -> torch.device:
        """Where prompts and audio are put."""
        return self.model.get_input_embeddings().weight.device

    @property
    def text_stack(self) -> nn.Module:
        """The decoder without head: embeddings in, final states out."""
        decoder = self.model.get_decoder()
        return decoder if hasattr(decoder, "layers") or hasattr(decoder, "h") else decoder.model

    @property
    def text_config(self) -> Any:
        """Configuration of the text stack."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def blocks(self) -> nn.ModuleList:
        """Decoder blocks of the text stack, by name: an audio tower has a list of blocks too, sometimes as long."""
        stack = self.text_stack
        return stack.get_submodule("layers" if hasattr(stack, "layers") else "h")

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks of the text stack."""
        return len(self.blocks)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream of the text stack."""
        return self.text_config.hidden_size

    @functools.cached_property
    def tokens_per_second(self) -> float:
        """Rate of audio tokens, in Hz; 0 of a model without ears."""
        if not self.hears:
            return 0.0
        if self.family.seconds_per_token is not None:
            return 1 / self.family.seconds_per_token
        # Rounding and padding are the same in both.
        seconds = int(min(self.max_seconds or 8, 8)) // 2
        short, long = (self.n_audio_tokens(times * seconds * SAMPLING_RATE) for times in (1, 2))
        return (long - short) / seconds

    def n_audio_tokens(self, n_frames: int) -> int:
        """Number of audio tokens of a recording of `n_frames` audio samples, padding left out."""
        if n_frames not in self._counts:
            self._process([np.zeros(n_frames, dtype=np.float32)])
        return self._n_heard(n_frames, self._counts[n_frames])

    def _n_heard(self, n_frames: int, n_all: int) -> int:
        if not self.family.padded_span:
            return n_all
        seconds = n_frames / SAMPLING_RATE
        return min(n_all, int(np.ceil(seconds / self.family.seconds_per_token - 1e-9)))

    def check_length(self, n_frames: int, name: str) -> None:
        """Refuse a recording that the model cannot hear as a whole.

        Raises
        ------
        UserError
            If `n_frames` audio samples are more than the model's window, or too few for one audio token; if the model
            hears nothing at all.
        """
        if not self.hears:
            raise UserError(f"{self.name} reads text only, and {name} is a recording; name an audio-language model")
        seconds = n_frames / SAMPLING_RATE
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise UserError(
                f"{name} lasts {seconds:.2f} s, but {self.name} hears at most {self.max_seconds:g} s; shorten it"
            )
        # Where there is a second of sound, every family makes tokens of it: nothing has to be processed to know that.
        if n_frames < 1 or (seconds < 1 and not self._expands(n_frames)):
            raise UserError(f"{name} lasts {seconds:.3f} s, too short for one audio token of {self.name}; lengthen it")

    def _expands(self, n_frames: int) -> bool:
        try:
            return self.n_audio_tokens(n_frames) > 0
        except (ValueError, RuntimeError, IndexError):  # how feature extractors refuse a few samples
            return False

    def prepare(
        self,
        recordings: Sequence[Recording],
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        padding_side: str = "left",
        state_at: Sequence[int | None] | None = None,
    ) -> Inputs:
        """Prompts about recordings as one padded batch.

        Each prompt is put after its recording, or alone where there is none, in the checkpoint's chat template, and the
        turn of the model is opened. A model whose tokenizer has no template is given the prompt as it is.

        Parameters
        ----------
        recordings
            Audio, symbols, passages of text, or None.
        prompts
            What is asked, one per row.
        audio_index
            Which recording each prompt is about; by default the first prompt is about the first recording and so on.
        padding_side
            `left` or `right`.
        state_at
            Characters of each prompt up to the end of the token whose states are taken; None: its last one.

        Raises
        ------
        UserError
            If a recording is too long or too short for the model, a prompt contains the audio placeholder, or audio
            tokens do not stand in one row, or are not as many as there are symbols; if the place of words is not known
            in prompts for models of this type.
        """
        audio_index = list(range(len(prompts))) if audio_index is None else list(audio_index)
        if len(audio_index) != len(prompts) or not all(0 <= index < len(recordings) for index in audio_index):
            raise ValueError(f"{len(prompts)} prompts about recordings {audio_index} of {len(recordings)}")
        for index, recording in enumerate(recordings):
            if isinstance(recording, np.ndarray):
                self.check_length(len(recording), f"recording {index} of the batch")
        about = [recordings[index] for index in audio_index]
        if self.family.converses:
            rows = [self.process(*each)["input_ids"][0] for each in zip(about, prompts, strict=True)]
            ids, mask = self._padded(rows, padding_side)
        else:
            texts = [self._render(*each) for each in zip(prompts, about, strict=True)]
            batch = self._tokenize(texts, padding=True, padding_side=padding_side, return_tensors="pt")
            ids, mask = batch["input_ids"], batch["attention_mask"]
        n_total, start = ids.shape[1], mask.argmax(dim=1)
        is_audio = self._is_audio(ids, mask).int()
        n_all = is_audio.sum(dim=1)
        n_heard = torch.tensor(
            [
                self._n_heard(len(recording), int(n)) if isinstance(recording, np.ndarray) else int(n)
                for recording, n in zip(about, n_all, strict=True)
            ]
        )
        first = torch.where(n_all > 0, is_audio.argmax(dim=1), start)
        after = torch.where(n_all > 0, n_total - is_audio.flip(1).argmax(dim=1), start)
        lacking = torch.tensor([self.hears and has_audio(recording) for recording in about]) & (n_all == 0)
        if not torch.equal(after - first, n_all) or lacking.any():
            raise UserError(
                f"{self.name}: the audio tokens of a prompt do not stand in one row ({n_all.tolist()} tokens over "
                f"{(after - first).tolist()}); use the processor and tokenizer files that belong to the weights"
            )
        span = torch.stack([first, first + n_heard], dim=1)
        for row, passage in enumerate(map(self._passage, about)):
            if passage is not None:
                where = texts[row].index(f"{passage}\n")
                span[row] = start[row] + torch.tensor(self._span_of(where, where + len(passage), texts[row]))
                after[row] = span[row, 1]
        for recording, n_tokens in zip(about, (span[:, 1] - span[:, 0]).tolist(), strict=True):
            if isinstance(recording, Symbols) and n_tokens != recording.n_tokens:
                raise UserError(
                    f"{self.name}: {recording.n_tokens} symbols become {n_tokens} tokens of a prompt; use the "
                    "tokenizer files that belong to the weights"
                )
        last = n_total - 1 - mask.flip(1).argmax(dim=1)
        taken = last.clone()
        for row, n_characters in enumerate(state_at or ()):
            if n_characters is not None:
                if self.family.converses:
                    raise UserError(
                        f"{self.name}: where words of a prompt lie among its tokens is not known for models of this "
                        "type; take states at the last token (without @label)"
                    )
                taken[row] = start[row] + self._token_at(prompts[row], n_characters, texts[row])
        return Inputs(
            input_ids=ids,
            attention_mask=mask,
            audio_index=torch.tensor(audio_index),
            audio_span=span,
            text_start=after,
            last=last,
            state_at=taken,
            recordings=tuple(recordings),
        )

    def _padded(self, rows: Sequence[torch.Tensor], padding_side: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids of several lengths as a batch, and its mask."""
        pad = self.model.generation_config.pad_token_id
        pad_sequence = functools.partial(nn.utils.rnn.pad_sequence, batch_first=True, padding_side=padding_side)
        masks = [torch.ones_like(row) for row in rows]
        return pad_sequence(list(rows), padding_value=pad), pad_sequence(masks, padding_value=0)

    def _passage(self, recording: Recording) -> str | None:
        """What stands before the prompt in a recording's place, as text; None where nothing does.

        Symbols of a model without ears are so many tokens that have no meaning there: their ids are not looked up.
        """
        if isinstance(recording, Symbols):
            return None if self.hears else self.tokenizer.eos_token * recording.n_tokens
        return recording if isinstance(recording, str) else None

    def _span_of(self, first: int, after: int, text: str) -> tuple[int, int]:
        """First token of some characters of a text, and the one after their last, counted from the first of all."""
        inside = [number for number, (start, end) in enumerate(self._offsets(text)) if start < after and end > first]
        return inside[0], inside[-1] + 1

    def _token_at(self, prompt: str, n_characters: int, text: str) -> int:
        """Token of a rendered prompt that holds the last one of a prompt's first characters, counted from the first."""
        # The conversation may hold the same words before; templates take blanks at the prompt's ends away.
        place = text.rindex(prompt.strip()) - (len(prompt) - len(prompt.lstrip())) + n_characters - 1
        return max(number for number, (start, end) in enumerate(self._offsets(text)) if start <= place < end)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """First character of each token of a text, and the one after its last."""
        return self._tokenize(text, return_offsets_mapping=True)["offset_mapping"]

    @torch.inference_mode()
    def encode(self, recordings: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Embeddings of the audio tokens of each recording, padding included, [audio_token, hidden], on the device.

        They are taken where the whole model hands them to its text stack, in place of the placeholders: its embeddings,
        or the first block's input where the stack is given token ids.
        """
        if len(recordings) > 1 and (self.family.converses or self.tokenizer.pad_token_id == self._audio_id):
            # Texts of several lengths would be padded with audio tokens, or cannot be padded at all.
            return [audio for recording in recordings for audio in self.encode([recording])]
        return self._take(self._process(recordings))

    def encoder_like(self, recording: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
        """What `encode` makes of a signal as long as a recording, as a function through which gradients flow.

        The processor computes features in numpy; in their place stands `log_mel`, if it comes to the same.

        Parameters
        ----------
        recording
            float32 [frame].

        Returns
        -------
        Callable
            From a signal [frame] on the device to embeddings [audio_token, hidden].

        Raises
        ------
        UserError
            If the model's features are none of `log_mel`.
        """
        processed = self._process([recording])
        expected = processed.get("input_features")
        agrees = isinstance(self._extractor, WhisperFeatureExtractor) and expected is not None
        if agrees:
            own = log_mel(torch.from_numpy(recording), self._extractor)
            agrees = own.shape == expected.shape[1:] and (own - expected[0]).abs().max() < LOG_MEL_TOLERANCE
        if not agrees:
            raise UserError(
                f"{self.name}: gradients are taken through Whisper's log-mel features of one window, and the features "
                "of this model are others; choose another model"
            )

        def encode(signal: torch.Tensor) -> torch.Tensor:
            return self._take(
                BatchFeature(dict(processed) | {"input_features": log_mel(signal, self._extractor)[None]})
            )[0]

        return encode

    @torch.inference_mode()
    def encode_symbols(self, symbols: Symbols) -> torch.Tensor:
        """Embeddings of the audio tokens that stand for words, [audio_token, hidden], on the device.

        The tokens of a word take turns while it sounds, from its first one on. They are those that it has within a
        text: at its begin, tokenizers that see blanks as parts of words take another word.
        """
        table = self.model.get_input_embeddings()
        heard = torch.zeros(symbols.n_tokens, table.weight.shape[1], device=self.device)
        spoken = [table(self._tokens_of(words).to(self.device)).float() for words, _, _ in symbols.spans]
        for embeddings, (_, first, after) in zip(spoken, symbols.spans, strict=True):
            turns = torch.arange(after - first, device=self.device) % len(embeddings)
            heard[first:after] += embeddings[turns]
        if symbols.noise:
            level = symbols.noise * torch.cat(spoken).square().mean().sqrt()
            drawn = generator(*symbols.stream).standard_normal(tuple(heard.shape), dtype=np.float32)
            heard += level * torch.from_numpy(drawn).to(self.device)
        return heard

    def _tokens_of(self, words: str) -> torch.Tensor:
        """Ids of the tokens of words, as they stand behind other words, [token]."""
        text = f"of {words}"
        first, after = self._span_of(len(text) - len(words), len(text), text)
        return torch.tensor(self._tokenize(text)["input_ids"][first:after])

    @contextlib.contextmanager
    def in_place(self, audio: torch.Tensor, inputs: Inputs) -> Iterator[None]:
        """Put embeddings [audio_token, hidden] in the place of the audio tokens of one prompt, in the whole model.

        Where transformers runs a model by itself, they go to the door of its text stack, as those of a recording do.
        """
        is_audio = torch.zeros_like(inputs.input_ids, dtype=torch.bool)
        is_audio[0, inputs.audio_span[0, 0] : inputs.audio_span[0, 1]] = True

        def at_stack(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            ids, embeddings = kwargs.pop("input_ids", None), kwargs.get("inputs_embeds")
            embeddings = self.model.get_input_embeddings()(ids) if embeddings is None else embeddings
            if embeddings.shape[1] == is_audio.shape[1]:  # the prompt, and not a token of the answer
                mask = is_audio.to(embeddings.device).unsqueeze(-1)
                embeddings = embeddings.masked_scatter(mask, audio.to(embeddings))
            return args, kwargs | {"inputs_embeds": embeddings}

        hook = self.text_stack.register_forward_pre_hook(at_stack, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _take(self, processed: BatchFeature) -> list[torch.Tensor]:
        taken: list[torch.Tensor] = []

        def at_stack(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            if torch.is_tensor(kwargs.get("inputs_embeds")):
                taken.append(kwargs["inputs_embeds"])
                raise _ReachedError

        def at_block(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            taken.append(args[0] if args else kwargs["hidden_states"])
            raise _ReachedError

        hooks = [
            self.text_stack.register_forward_pre_hook(at_stack, with_kwargs=True),
            self.blocks[0].register_forward_pre_hook(at_block, with_kwargs=True),
        ]
        try:
            self.model(**self.accepted(processed), **self.family.model_arguments)
        except _ReachedError:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        where = self._is_audio(processed["input_ids"], processed["attention_mask"]).to(self.device)
        return [embeddings[tokens] for embeddings, tokens in zip(taken[0].to(self.device), where, strict=True)]

    def _is_audio(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """True at audio tokens, [row, token]; in some families they have the id of padding."""
        return (ids == self._audio_id) & (mask > 0) if self.hears else torch.zeros_like(mask, dtype=torch.bool)

    def accepted(self, processed: BatchFeature) -> dict[str, torch.Tensor]:
        """What the model takes of the processor's output, on its device and in its type."""
        names, dtype = inspect.signature(self.model.forward).parameters, next(self.model.parameters()).dtype
        return {
            name: values.to(self.device, dtype if values.is_floating_point() else None)
            for name, values in processed.items()
            if name in names and torch.is_tensor(values)
        }

    def embed(self, input_ids: torch.Tensor, audio: Sequence[torch.Tensor]) -> torch.Tensor:
        """Input embeddings, [row, token, hidden], of token ids [row, token], in which `AUDIO` stands for audio tokens.

        `audio` holds embeddings [audio_token, hidden] that take the audio tokens' places, in the order of rows.
        """
        is_audio = input_ids == AUDIO
        embeddings = self.model.get_input_embeddings()(input_ids.masked_fill(is_audio, 0))
        if not audio:
            return embeddings
        return embeddings.masked_scatter(is_audio.unsqueeze(-1), torch.cat(list(audio)).to(embeddings))

    def stack_arguments(self, input_ids: torch.Tensor) -> dict[str, Any]:
        """What the text stack takes beside embeddings, from token ids as for `embed`."""
        counts_as = self.family.per_layer_inputs
        if counts_as is None or not getattr(self.text_config, "hidden_size_per_layer_input", 0):
            return {}
        instead = self.text_config.pad_token_id if counts_as == "padding" else self._audio_id
        ids = input_ids.masked_fill(input_ids == AUDIO, instead)
        return {"per_layer_inputs": self.text_stack.get_per_layer_inputs(ids)}

    @property
    def head(self) -> nn.Module:
        """What makes logits of states; some models leave it to a language model of their own."""
        models = (module for module in self.model.modules() if isinstance(module, PreTrainedModel))
        return next(head for model in models if (head := model.get_output_embeddings()) is not None)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits of the next token, float32 [..., vocabulary], from states behind the final norm, [..., hidden].

        Some families scale them or cap them, c · tanh(logits / c), after the head.
        """
        head, config = self.head, self.text_config
        logits = head(states.to(head.weight.device)).float()
        if scaling := getattr(config, "logits_scaling", None):
            logits = logits / scaling
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = cap * torch.tanh(logits / cap)
        return logits

    def continuation(self, prompt: str, text: str) -> tuple[int, ...]:
        """Tokens of a text that stands where the answer to a prompt does, without the one that ends an answer.

        They are those that it has behind the prompt, unless the two have a token in common; then its own.
        """
        alone = self._tokenize(text, add_special_tokens=False)["input_ids"]
        if self.family.converses:
            return tuple(alone)
        asked = self._chat(prompt, False)
        before, whole = (self._tokenize(each)["input_ids"] for each in (asked, asked + text))
        return tuple(whole[len(before) :] if whole[: len(before)] == before else alone)

    @property
    def eos_token_ids(self) -> list[int]:
        """Tokens that end an answer."""
        eos = self.model.generation_config.eos_token_id
        return list(eos) if isinstance(eos, list | tuple) else [eos]

    def process(self, recording: Recording, prompt: str) -> BatchFeature:
        """What the model's own processor makes of one recording and one prompt."""
        if self.family.converses:
            return self._converse(recording, prompt)
        text = self._render(prompt, recording, expand=isinstance(recording, Symbols))
        if not isinstance(recording, np.ndarray):
            return self._tokenize([text], return_tensors="pt")
        processed = self._run_processor([text], [recording])
        processed.pop("text_replacement_offsets", None)
        return processed

    def _process(self, recordings: Sequence[np.ndarray]) -> BatchFeature:
        """What the processor makes of recordings alone; how it expands their placeholders is remembered by length."""
        if self.family.converses:
            processed = self._converse(recordings[0], _NO_QUESTION)
        else:
            text = self._chat("", True)
            processed = self._run_processor([text] * len(recordings), recordings)
            self._remember_expansions(text, recordings, processed)
        n_tokens = self._is_audio(processed["input_ids"], processed["attention_mask"]).sum(dim=1).tolist()
        self._counts |= dict(zip(map(len, recordings), n_tokens, strict=True))
        return processed

    def _remember_expansions(self, text: str, recordings: Sequence[np.ndarray], processed: BatchFeature) -> None:
        offsets = processed.pop("text_replacement_offsets", None)
        for number, recording in enumerate(recordings):
            if offsets is None:
                ids = processed["input_ids"][number][processed["attention_mask"][number] > 0]
                self._expansions[len(recording)] = self._inserted(text, ids.tolist())
            else:
                self._expansions[len(recording)] = offsets[number][0]["replacement"]

    def _converse(self, recording: Recording, prompt: str) -> BatchFeature:
        """One recording and one prompt as a conversation, by a processor that takes recordings as files.

        Raises
        ------
        UserError
            If there is a passage of text, or are symbols, in the recording's place.
        """
        if isinstance(recording, str | Symbols):
            what = "passages of text" if isinstance(recording, str) else "symbols"
            raise UserError(f"{self.name}: {what} are not read by models of this type; give recordings")
        parts = [{"type": "text", "text": prompt}]
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            if isinstance(recording, np.ndarray):
                soundfile.write(file, recording, SAMPLING_RATE, format="WAV", subtype="FLOAT")
                file.flush()
                parts.insert(0, {"type": "audio", "path": file.name})
            return self.processor.apply_chat_template([{"role": "user", "content": parts}])

    def _inserted(self, text: str, ids: list[int]) -> str:
        """What a processor that does not tell has put into the place of the placeholder: special tokens."""
        before, _, after = text.partition(self._placeholder)
        first = len(self._tokenize(before)["input_ids"])
        behind = len(self._tokenize(after, add_special_tokens=False)["input_ids"])
        return "".join(self.tokenizer.convert_ids_to_tokens(ids[first : len(ids) - behind]))

    def _expansion(self, recording: np.ndarray | Symbols) -> str:
        """What a recording's placeholder is replaced by, markers included."""
        if isinstance(recording, Symbols):
            # Between the markers of a recording of a second, which is long enough for every model.
            token = self.tokenizer.convert_ids_to_tokens(self._audio_id)
            of_second = self._expansion(np.zeros(SAMPLING_RATE, dtype=np.float32))
            before, after = of_second.partition(token)[0], of_second.rpartition(token)[2]
            return before + token * recording.n_tokens + after
        if len(recording) not in self._expansions:
            self._process([recording])
        return self._expansions[len(recording)]

    def _run_processor(self, texts: list[str], recordings: Sequence[np.ndarray]) -> BatchFeature:
        rate = self._extractor.sampling_rate
        if rate != SAMPLING_RATE:
            recordings = [soxr.resample(recording, SAMPLING_RATE, rate) for recording in recordings]
        with self._one_at_a_time:
            return self.processor(
                text=texts,
                audio=list(recordings),
                text_kwargs={"padding": True},  # how audio is padded is the processor's to know
                audio_kwargs={"sampling_rate": rate},
                return_tensors="pt",
                return_text_replacement_offsets=True,
            )

    def _tokenize(self, texts: str | list[str], **arguments: Any) -> BatchEncoding:
        with self._one_at_a_time:
            return self.tokenizer(texts, **arguments)

    def _chat(self, prompt: str, with_audio: bool) -> str:
        content: Any = [{"type": "audio"}] * with_audio + [{"type": "text", "text": prompt}]
        if not self.hears:
            if not self.tokenizer.chat_template:
                return prompt
            content = prompt  # templates of language models know no parts
        # Some checkpoints keep it with the tokenizer alone.
        keeper = self.processor if getattr(self.processor, "chat_template", None) else self.tokenizer
        return keeper.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    def _render(self, prompt: str, recording: Recording, expand: bool = True) -> str:
        is_audio = self.hears and has_audio(recording)
        passage = self._passage(recording)
        if passage is not None:
            prompt = f"{passage}\n{prompt}"
        n_expected, text = int(is_audio), self._chat(prompt, is_audio)
        if not self.hears:
            return text
        if text.count(self._placeholder) != n_expected:
            raise UserError(
                f"{self.name}: the prompt {prompt!r} yields {text.count(self._placeholder)} audio placeholders "
                f"({self._placeholder}) instead of {n_expected}; take the placeholder out of the prompt or correct the "
                "chat template"
            )
        return text.replace(self._placeholder, self._expansion(recording)) if is_audio and expand else text
