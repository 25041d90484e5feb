"""What the engine says in English, in the language of a window.

The engine knows no languages: its errors, the reasons of files that were set aside and the values of its metrics are
English sentences with names and numbers in them. A file of translations has each of them as it stands in the source,
with a field for each thing that is filled in; a sentence is recognised by the words between its fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_FIELD = re.compile(r"\{(\w+)\}")
# Fields that hold words of the engine, which are translated in their turn; all others hold names and numbers.
_OF_WORDS = re.compile(r"(why|size)\d*")
_MOST_KEPT = 4096


@dataclass(frozen=True)
class _Template:
    """An English sentence with fields, and its translation with the same fields."""

    begins: str
    pattern: re.Pattern[str]
    words: int
    translation: str


def _template(english: str, translation: str) -> _Template:
    pieces = _FIELD.split(english)  # words, field, words, field ..., words
    pattern = "".join(f"(?P<{piece}>.*?)" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    words = sum(len(piece) for piece in pieces[::2])
    return _Template(pieces[0], re.compile(pattern, re.DOTALL), words, translation)


class Sentences:
    """The sentences of the engine in one language.

    Parameters
    ----------
    translations : mapping of str to str
        English sentences with fields in braces, and their translations; empty for English.
    """

    def __init__(self, translations: Mapping[str, str]) -> None:
        # Of two that fit, the one with more words says more.
        found = [_template(english, translation) for english, translation in translations.items()]
        self._templates = sorted(found, key=lambda template: -template.words)
        self._kept = lru_cache(_MOST_KEPT)(self._translated)

    def __call__(self, text: str) -> str:
        """A sentence of the engine translated; any other text as it is."""
        return self._kept(text)

    def _translated(self, text: str) -> str:
        inside = text.removesuffix(".")
        parts = inside.split("; ")
        is_one = self._matched(text) if len(parts) == 1 else None
        if is_one is not None:
            return is_one
        each = [self._matched(part) for part in parts]
        if None not in each:  # several sentences in one, or one that the engine closed with a full stop
            return " ; ".join(filter(None, each)) + text[len(inside) :]
        return self._matched(text) or text  # one sentence with a semicolon

    def _matched(self, text: str) -> str | None:
        """The translation of one sentence; None if there is none."""
        for template in self._templates:
            if text.startswith(template.begins) and (found := template.pattern.fullmatch(text)):
                values = {
                    name: self(value) if _OF_WORDS.fullmatch(name) else value
                    for name, value in found.groupdict().items()
                }
                return template.translation.format(**values)
        return None
