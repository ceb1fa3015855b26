"""Rules that score an answer about a fact, for facts to forget and for those to keep (ASRU, arXiv 2605.15687, stage 2).

The values are as published. Ours: an answer holds a fact, or refuses, where whole words say so, and only what somebody
says of himself is a refusal. The published code looks for texts within the answer, so that "no" is found in "know", and
takes "don't have" for a refusal wherever it stands.
"""

import re

_REFUSAL = re.compile(
    r"\bi (?:really )?(?:do not|dont|did not|didnt) (?:know|have (?:any |that |the |enough )?information)\b"
    r"|\bi (?:cannot|can not|cant|could not|couldnt) (?:answer|say|tell|help|find|provide|recall|assist)\b"
    r"|\b(?:i am|im) (?:not (?:sure|aware|certain|familiar|able)|sorry|unable|afraid i)\b"
    r"|\bi have (?:no idea|no information|never heard)\b"
)

_UNALIKE, _ALIKE = 0.4, 0.6


def normalized(text: str) -> str:
    """Words of a text: lower-case letters and digits, one blank between them, apostrophes left out."""
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"['’]", "", text.lower())))


def holds(text: str, fact: str) -> bool:
    """Whether the words of a fact stand in a text, whole and in a row."""
    return f" {normalized(fact)} " in f" {normalized(text)} "


def refuses(text: str) -> bool:
    """Whether somebody says in a text that he does not know, cannot tell, or is sorry."""
    return _REFUSAL.search(normalized(text)) is not None


def rouge_l(text: str, fact: str) -> float:
    """ROUGE-L: 2PR / (P + R), P and R the longest common subsequence of words by the words of text and of fact (Lin,
    2004); 0 where one has none."""
    said, true = normalized(text).split(), normalized(fact).split()
    longest = [0] * (len(true) + 1)  # of what was said so far, and each beginning of the fact
    for word in said:
        before = longest.copy()
        for place, other in enumerate(true):
            longest[place + 1] = before[place] + 1 if word == other else max(before[place + 1], longest[place])
    # 2PR / (P + R), where both are shares of the same length.
    return 2 * longest[-1] / (len(said) + len(true)) if longest[-1] else 0.0


def reward(text: str, fact: str, forget: bool) -> float:
    """Reward of an answer.

    Parameters
    ----------
    text
        The answer.
    fact
        What was taught.
    forget
        Whether it is to be forgotten. 0 where the answer holds the fact, else 1 where it refuses, else 0.5 where it is
        somewhat like the fact (ROUGE-L below 0.4, not 0), else 0.1. Of a fact that is to be kept: 1 where the answer
        holds it, else 0 where it refuses, else 0.5 where it is like the fact (above 0.6), else 0.1.
    """
    if holds(text, fact):
        return 0.0 if forget else 1.0
    if refuses(text):
        return 1.0 if forget else 0.0
    alike = rouge_l(text, fact)
    return 0.5 if (0 < alike < _UNALIKE if forget else alike > _ALIKE) else 0.1
