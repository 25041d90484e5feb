"""Finds what a person may have meant by a name that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_ALIKE = 0.75
_MOST = 3


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are most like `name`, the best first; none if it is like no other.

    Names are alike as a whole (``grdi``, ``grid``), or word by word (``--kapa-low``, ``--stack-kappa-low``).

    Parameters
    ----------
    name : str
    known : iterable of str
    """
    scores = {other: max(_alike(name, other), _alike_by_words(name, other)) for other in known}
    best = max(scores.values(), default=0.0)
    likely = [other for other, score in scores.items() if score >= max(_ALIKE, best - 0.05)]
    return sorted(likely, key=lambda other: (-scores[other], len(other), other))[:_MOST]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to be added to a message; empty if there is nothing to ask."""
    found = nearest(name, known)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _alike_by_words(one: str, other: str) -> float:
    """Mean over the words of `one` of how alike the most similar word of `other` is."""
    words, others = _words(one), _words(other)
    if not words or not others:
        return 0.0
    return sum(max(_alike(word, another) for another in others) for word in words) / len(words)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_]", name) if word]
