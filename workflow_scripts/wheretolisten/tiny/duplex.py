"""A tiny language model that listens and speaks at once, and goes on speaking for some steps when it is interrupted.

The task is a policy that is learnt by heart. Both streams have a token at every step, silence mostly. The user begins
(onset), says three words and a request to confirm them, and ends; the model is silent while it listens, and then says
the words that it heard and a closing formula. It hears a word only if it said nothing the step before. If the user
begins while it speaks, it goes on for `lag` steps and then falls silent: words that are said meanwhile are lost to its
answer. In a part of the dialogues the lag is another one, drawn up to twice as long, so that the model has met silence
that comes early and late; which it is cannot be foreseen, and the usual one is the likeliest.

What a state predicts follows the mode: its loss is mostly that of the model's own token while it speaks, and mostly
that of the user's next token while it listens (arXiv 2606.11386 finds this of full-duplex models).
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from wheretolisten.clips.randomness import generator
from wheretolisten.config.sections import Section
from wheretolisten.engine.streams import END, MODEL, ONSET, SILENCE, USER, Vocabulary
from wheretolisten.errors import UserError

_log = logging.getLogger(__name__)

REQUEST = ("is", "that", "right", "please")
"""What the user says behind the words of a question."""

FORMULA = ("this", "is", "what", "you", "have", "said", "and", "so", "it", "shall", "be", "done")
"""What the model says behind the words that it heard."""

PARDON = "pardon"
"""What it says in their place if it heard none."""

N_WORDS = 3
"""Words of a question."""

_PAD, _END_OF_TEXT = "<pad>", "<eos>"


class DuplexSettings(Section):
    """How the model is made."""

    lag: int = Field(4, ge=1, description="steps for which it usually goes on speaking when it is interrupted")
    usual: float = Field(0.8, gt=0.5, le=1, description="share of interruptions with this lag")
    interrupted: float = Field(0.6, gt=0, lt=1, description="share of dialogues with an interruption")
    n_steps: int = Field(48, ge=40, description="time steps of a dialogue")
    hidden_size: int = Field(64, ge=16, description="width of its states")
    n_layers: int = Field(3, ge=2, le=4, description="blocks")
    batch: int = Field(32, ge=1, description="dialogues of a training step")
    updates: int = Field(1000, ge=1, description="training steps")
    learning_rate: float = Field(3e-3, gt=0, description="of AdamW, at its highest")
    own_weight: float = Field(
        0.8, gt=0.5, lt=1, description="part of a step's loss that the stream of its mode has; the other has the rest"
    )
    seed: int = Field(0, ge=0, description="of weights and dialogues")


@dataclass(frozen=True)
class Script:
    """A dialogue as it should go: tokens of both streams, [step] each."""

    user: list[int]
    model: list[int]


def stream_tokens(words: Sequence[str]) -> list[str]:
    """A token for every word, for the user's stream and for the model's.

    Raises
    ------
    UserError
        If a word is said in every dialogue anyway, so that it would be none to listen to.
    """
    taken = sorted({*REQUEST, *FORMULA, PARDON} & set(words))
    if taken:
        raise UserError(f"the word {taken[0]!r} belongs to the form of every dialogue; take another in its place")
    of_user = [SILENCE, ONSET, END, *REQUEST, *words]
    return [*(USER + word for word in of_user), *(MODEL + word for word in [SILENCE, PARDON, *FORMULA, *words])]


def tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """One that knows the tokens of the two streams alone.

    Raises
    ------
    UserError
        As `stream_tokens`.
    """
    tokens = {token: number for number, token in enumerate([_PAD, _END_OF_TEXT, *stream_tokens(words)])}
    made = Tokenizer(models.WordLevel(tokens, unk_token=_PAD))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=_PAD,
        eos_token=_END_OF_TEXT,
        unk_token=_PAD,
        clean_up_tokenization_spaces=False,
    )


def script(
    vocabulary: Vocabulary, questions: Sequence[Sequence[str]], gap: int, after: int | None, lag: int, n_steps: int
) -> Script:
    """How a dialogue of two questions goes.

    Parameters
    ----------
    vocabulary
        Tokens.
    questions
        Words of each.
    gap
        Steps of silence before the first.
    after
        Steps of the first answer after which the second question begins; None: it ends first.
    lag
        Steps for which the model goes on then.
    n_steps
        Steps of the dialogue; both streams are cut off or filled up with silence.
    """
    user, silence = [vocabulary.user[SILENCE]] * gap, vocabulary.model[SILENCE]
    for number, words in enumerate(questions):
        user += vocabulary.heard([ONSET, *words, *REQUEST, END], "question")
        # The first word of an answer falls on the end of the question.
        length = len(words) + len(FORMULA) if after is None or number else after - 1
        user += [vocabulary.user[SILENCE]] * length
    user = (user + [vocabulary.user[SILENCE]] * n_steps)[:n_steps]
    content = {vocabulary.user[word]: vocabulary.model[word] for words in questions for word in words}
    model: list[int] = []
    heard: list[int] = []
    planned: list[int] = []
    left: int | None = None
    for token in user:
        if token == vocabulary.user[ONSET]:
            heard, left = [], lag if planned else None
        if token in content and (not model or model[-1] == silence):
            heard.append(content[token])
        if left == 0:
            planned, left = [], None
        elif left is not None:
            left -= 1
        if token == vocabulary.user[END]:
            formula = [vocabulary.model[word] for word in FORMULA]
            planned, left = [*(heard or [vocabulary.model[PARDON]]), *formula], None
        model.append(planned.pop(0) if planned else silence)
    return Script(user, model)


def draw(vocabulary: Vocabulary, words: Sequence[str], settings: DuplexSettings, rng: np.random.Generator) -> Script:
    """A dialogue to learn from."""
    chosen = [words[index] for index in rng.choice(len(words), 2 * N_WORDS, replace=False)]
    after = int(rng.integers(1, 8)) if rng.random() < settings.interrupted else None
    lag = settings.lag if rng.random() < settings.usual else int(rng.integers(0, 2 * settings.lag + 1))
    questions = chosen[:N_WORDS], chosen[N_WORDS:]
    return script(vocabulary, questions, int(rng.integers(1, 4)), after, lag, settings.n_steps)


def untrained(n_tokens: int, pad: int, end: int, settings: DuplexSettings) -> LlamaForCausalLM:
    """A model with random weights, by the settings' seed, for so many tokens, those of padding and of the end named."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=n_tokens,
                hidden_size=settings.hidden_size,
                intermediate_size=2 * settings.hidden_size,
                num_hidden_layers=settings.n_layers,
                num_attention_heads=4,
                num_key_value_heads=4,
                max_position_embeddings=256,
                tie_word_embeddings=False,
                initializer_range=settings.hidden_size**-0.5,
                pad_token_id=pad,
                bos_token_id=None,
                eos_token_id=end,
            )
        )


def train(
    words: Sequence[str], settings: DuplexSettings, folder: Path, tokens: PreTrainedTokenizerFast | None = None
) -> int:
    """Train a model that knows some words, write it into a folder, and return its number of parameters.

    `tokens` may be another tokenizer, which has the tokens of both streams beside others; by default it has no others.

    Raises
    ------
    UserError
        As `stream_tokens`.
    """
    tokens = tokenizer(words) if tokens is None else tokens
    vocabulary = Vocabulary.of("tiny-duplex", tokens.get_vocab())
    model = untrained(len(tokens), tokens.pad_token_id, tokens.eos_token_id, settings)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rising = min(50, settings.updates)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda update: min(1, (update + 1) / rising) * 0.5 * (1 + np.cos(np.pi * update / settings.updates)),
    )
    silence = vocabulary.model[SILENCE]
    for update in range(settings.updates):
        rng = generator("duplex", settings.seed, update)
        scripts = [draw(vocabulary, words, settings, rng) for _ in range(settings.batch)]
        user, own = (torch.tensor([getattr(each, stream) for each in scripts]) for stream in ("user", "model"))
        before = torch.cat([torch.full_like(own[:, :1], silence), own[:, :-1]], dim=1)
        table = model.get_input_embeddings()
        likely = torch.log_softmax(model(inputs_embeds=table(user) + table(before)).logits[:, :-1], dim=-1)
        of_own, of_user = (likely.gather(-1, target[..., None])[..., 0] for target in (own[:, :-1], user[:, 1:]))
        weight = torch.where(own[:, :-1] == silence, 1 - settings.own_weight, settings.own_weight)
        loss = -(weight * of_own + (1 - weight) * of_user).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % 100 == 0 or update + 1 == settings.updates:
            _log.info("update %d of %d, loss %.3f", update + 1, settings.updates, loss.item())
    model.generation_config = GenerationConfig(eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id)
    model.eval().save_pretrained(folder)
    tokens.save_pretrained(folder)
    return model.num_parameters()


def described(settings: DuplexSettings) -> str:
    """The settings, for a card."""
    return json.dumps(settings.model_dump(mode="json"), sort_keys=True)
