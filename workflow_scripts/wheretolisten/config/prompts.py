"""What is said to a model: named templates, filled from an example."""

import functools
import string
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wheretolisten.config.directions import PROMPT_NAME, State
from wheretolisten.config.labels import Named
from wheretolisten.config.sections import Section, check_template
from wheretolisten.errors import UserError

PROMPTS = {
    "positive": "Which part of the audio has the sound of {label}?",
    "positive_1": "When in the audio is the sound of {label} heard?",
    "positive_2": "In which part of the recording can {label} be heard?",
    "positive_3": "Listen for the sound of {label}. Where is it in the audio?",
    "negative": "Focus on the entire audio",
    "negative_1": "Listen to the whole audio",
    "negative_2": "Pay attention to the audio as a whole",
    "negative_3": "Focus on the audio from its beginning to its end",
    "inference": "Describe the audio.",
    "question": "{question} Choose one of: {choices}",
    "asked": "{question}",
    "focus": "Focus on the meaningful part of the audio {question} Choose one of: {choices}",
    "focus_asked": "Focus on the meaningful part of the audio {question}",
    "whole": "Focus on the entire audio {question} Choose one of: {choices}",
}
"""Those that are always there, unless a configuration words them otherwise or takes them out: SWL §3.3's p+ (positive)
and p− (negative) with other words for them, counted from 1; the prompt of the base pass and of every steered one
(inference); a question with choices as it is, without them (asked), and after one of two instructions (focus,
focus_asked, whole: SWL Figure 1)."""

ABOUT_EVENT = frozenset({"label"})
"""What a prompt about an event of a recording may name in braces."""

ABOUT_QUESTION = frozenset({"question", "choices"})
"""What a prompt about a question with choices may name in braces."""

RECORDED = frozenset({"recording"})
"""What recordings of one's own have: no prompt can name it, so that no study but one of intervals is about them."""

PAIRED = frozenset({"pair"})
"""What pairs of answers have, likewise; studies of effects are about them."""

_MUST_NAME = {"positive": ABOUT_EVENT, "question": ABOUT_QUESTION, "focus": ABOUT_QUESTION, "inference": frozenset()}
_NUMBERED = ("positive_", "negative_")


@functools.cache
def fields_of(template: str) -> frozenset[str]:
    """What a template names in braces.

    Raises
    ------
    ValueError
        If it is no template.
    """
    known = ABOUT_EVENT | ABOUT_QUESTION
    try:
        fields = frozenset(field for _, field, _, _ in string.Formatter().parse(template) if field is not None)
        if fields <= known:
            template.format(**dict.fromkeys(known, "dog"))
            return fields
        problem = f"nothing is called {sorted(fields - known)[0]!r}"
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        problem = str(error)
    raise ValueError(
        f"cannot fill {template!r}: {problem}; it may name {{label}}, or {{question}} and {{choices}}, and braces that "
        "stand for themselves are doubled"
    )


def _with_defaults(prompts: Any) -> Any:
    return PROMPTS | prompts if isinstance(prompts, dict) else prompts


def check_prompts(prompts: dict[str, str | None]) -> dict[str, str | None]:
    """Prompts by name, as they are.

    Raises
    ------
    ValueError
        Starting with the name of one that cannot be filled or lacks what it must name, or is taken out but needed.
    """
    said: dict[str, str] = {}
    for name, template in prompts.items():
        if not PROMPT_NAME.fullmatch(name):
            raise ValueError(f"{name}: states are named after prompts; use lower-case letters, digits, '_'")
        if template is None:
            if name in _MUST_NAME or name == "negative":
                raise ValueError(f"{name} cannot be taken out; word it otherwise, or leave it as it is")
            continue
        if not isinstance(template, str):  # a value of a sweep; pydantic has checked the others
            raise ValueError(f"{name}: {template!r} is no text; put it in quotes")
        if not template.strip():
            raise ValueError(f"{name} must not be empty")
        try:
            fields = fields_of(template)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if fields & ABOUT_EVENT and fields & ABOUT_QUESTION:
            raise ValueError(f"{name} names a label and a question; nothing has both, take one of them out")
        needed = _MUST_NAME.get(name.partition("_")[0] if name.startswith(_NUMBERED) else name)
        if needed and needed - fields:
            raise ValueError(f"{name} must contain {{{sorted(needed - fields)[0]}}}")
        if needed == frozenset() and fields:
            raise ValueError(f"{name} is asked about whole recordings, and names {{{sorted(fields)[0]}}}; take it out")
        if name.partition("_")[0] in ("positive", "negative"):
            other = said.setdefault(template, name)
            if other != name:
                raise ValueError(f"{other} and {name} are both {template!r}; reword or take out (null) one of them")
    return prompts


Prompts = Annotated[dict[str, str | None], BeforeValidator(_with_defaults), AfterValidator(check_prompts)]
"""Name → template; null: taken out."""


def state_of(prompts: dict[str, str | None], name: str) -> State:
    """What a state is taken from: the prompt that its name starts with.

    Raises
    ------
    UserError
        If there is no such prompt.
    """
    prompt, *marks = name.split("@")
    template = prompts.get(prompt)
    if template is None:
        known = ", ".join(name for name, text in prompts.items() if text is not None)
        raise UserError(f"{prompt!r} is no prompt ({known}); add it to prompts, or take what needs it out (name: null)")
    if not fields_of(template) & ABOUT_EVENT and any(mark == "label" or mark.startswith("absent") for mark in marks):
        raise UserError(
            f"{name!r}: the prompt {prompt!r} names no {{label}}; take @{marks[-1]} out, or name another prompt"
        )
    heard = next((mark for mark in marks if mark in ("silence", "none")), "recording")
    return State(prompt=template, heard=heard, token="label" if "label" in marks else "last")


class Wording(Section):
    """The words that stand for labels in prompts."""

    labels: Annotated[dict[str, str], Named] = Field(default_factory=dict, description="label → its words")
    domains: Annotated[dict[str, str], Named] = Field(
        default_factory=lambda: {"languages": "{label} speech"},
        description="domain → words, with {label}, for its labels that have none of their own; otherwise the label",
    )

    @model_validator(mode="after")
    def _check_fields(self) -> "Wording":
        for domain, words in self.domains.items():
            check_template(words, f"domains.{domain}", {"label"})
        return self

    def of(self, label: str, domain: str) -> str:
        """The words for a label of a domain; the label itself where there are none."""
        return self.labels.get(label) or self.domains.get(domain, "{label}").format(label=label)
