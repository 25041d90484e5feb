"""Sentences of the engine in the language of a window.

The engine makes its messages with `zemosaic_engine.sentences.say`. A file of translations has each of them by its
code, with the same fields in braces; what was filled in is translated in its turn if it is a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from zemosaic_engine.sentences import Sentence

# Numbers with a decimal point: one, a range, one with its error, or seconds.
_NUMBERS = re.compile(r"[<>]? ?[-+\u2212]?\d+\.\d+(e[-+]\d+)?((\u2013| \u00b1 )\d+\.\d+)?( s)?")

# Fields with names of files and folders, which are no words: a folder may be called "subs".
_PLACES = ("folder", "path", "file", "plan")


def _is_place(name: str, value: object) -> bool:
    """True for the name of a file or folder; "subs.csv, line 2" is a sentence about one."""
    return name in _PLACES and not isinstance(value, Sentence)


class Sentences:
    """The sentences of the engine in one language.

    Parameters
    ----------
    translations : mapping of str to str
        Translations by code, with the same fields in braces; empty for English.
    mark : str
        Decimal mark of the numbers in them.
    """

    def __init__(self, translations: Mapping[str, str], mark: str = ".") -> None:
        self._translations, self._mark = translations, mark

    def __call__(self, text: str) -> str:
        """Return a sentence of the engine translated; any other text, and one that nobody translated, as it is."""
        if not isinstance(text, Sentence):
            return self._translations.get(text, text)
        shown = text.shown()
        values = {
            name: in_english if _is_place(name, text.fields[name]) else self._field(text.fields[name], in_english)
            for name, in_english in shown.items()
        }
        pattern = self._translations.get(text.code)
        if pattern is None:  # several sentences in one are each translated; the language sets what stands between them
            pattern = text.code.replace("}; {", f"}}{self._translations.get('; ', '; ')}{{")
        return pattern.format(**values)

    def _field(self, value: object, in_english: str) -> str:
        """Return the value of a field, translated if it is a sentence or a message of the operating system."""
        if isinstance(value, Sentence) and str(value) == in_english:
            return self(value)
        return self.word(in_english)

    def word(self, text: str) -> str:
        """Return a sentence, a word or a number in the language; any other text as it is."""
        if isinstance(text, Sentence):
            return self(text)
        if text in self._translations:
            return self._translations[text]
        return text.replace(".", self._mark) if _NUMBERS.fullmatch(text) else text
