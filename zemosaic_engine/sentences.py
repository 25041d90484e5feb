"""Sentences for people that remember what was filled in, so that they can be shown in another language.

Messages of errors, reasons of subs that were set aside, log lines and values of metrics are made by `say`. A
`Sentence` is its English text wherever a text is wanted; a window that speaks another language looks up its ``code``
and fills in its ``fields``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from .names import tidy_text

_FIELD = re.compile(r"\{(\w+)(?:![rsa])?(?::[^{}]*)?\}")


class Sentence(str):
    """An English text with the pattern that it was made from.

    Attributes
    ----------
    pattern : str
        The text with a field in braces for everything that was filled in, ``"{share:.0f} % of its pixels are there"``.
    fields : mapping of str to object
        What was filled in: names, numbers, or sentences again.
    """

    pattern: str
    fields: Mapping[str, Any]

    def __new__(cls, pattern: str, fields: Mapping[str, Any]) -> Sentence:
        """Fill the fields of a pattern in."""
        tidy = {name: _tidy(value) for name, value in fields.items()}
        sentence = super().__new__(cls, pattern.format(**tidy))
        sentence.pattern, sentence.fields = pattern, tidy
        return sentence

    def __str__(self) -> str:
        """Return the sentence itself, so that ``str(error)`` keeps what it was made from."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the pattern and its fields."""
        return type(self), (self.pattern, self.fields)

    @property
    def code(self) -> str:
        """The pattern without formats: ``"{share} % of its pixels are there"``."""
        return code_of(self.pattern)

    def shown(self) -> dict[str, str]:
        """Return each field as it stands in the English text."""
        return {match[1]: match[0].format(**self.fields) for match in _FIELD.finditer(self.pattern)}


class _Number(float):
    """A number whose general format writes thousands in full: 12340, and not 1.234e+04."""

    def __format__(self, spec: str) -> str:
        """Round as the format asks, without an exponent below a billion."""
        text = super().__format__(spec)
        if "e+" not in text or not spec.endswith("g") or abs(self) >= _MOST_IN_FULL:
            return text
        flags = spec.partition(".")[0].removesuffix("g")
        return format(float(text), f"{flags}.0f")


_MOST_IN_FULL = 1e9


def _tidy(value: Any) -> Any:
    """A field as people may see it: what comes from a file may be very long, or speak to their terminal."""
    if isinstance(value, Sentence):
        return value
    if isinstance(value, Real) and not isinstance(value, Integral):
        return _Number(value)
    return tidy_text(str(value)) if isinstance(value, str | PurePath | Exception) else value


def say(pattern: str, /, **fields: Any) -> Sentence:
    """Make a sentence; `pattern` is filled in as by `str.format`."""
    return Sentence(pattern, fields)


def code_of(pattern: str) -> str:
    """Return a pattern without the formats of its fields."""
    return _FIELD.sub(lambda match: f"{{{match[1]}}}", pattern)


def joined(sentences: Iterable[str], separator: str = "; ", end: str = "") -> Sentence:
    """Put several sentences into one, with `end` behind the last; each is translated by itself."""
    parts = {f"part{number}": sentence for number, sentence in enumerate(sentences)}
    return Sentence(separator.join(f"{{{name}}}" for name in parts) + end, parts)


def to_facts(text: str) -> Any:
    """Return a text as plain JSON values: a string, or the code of a sentence with its fields as they are shown."""
    if not isinstance(text, Sentence):
        return str(text)
    shown = text.shown()
    fields = {
        name: to_facts(value) if isinstance(value, Sentence) and str(value) == shown[name] else shown[name]
        for name, value in text.fields.items()
        if name in shown
    }
    return {"code": text.code, "fields": fields}


def from_facts(facts: Any) -> str:
    """Return what `to_facts` made plain; `ValueError` if it is something else."""
    if isinstance(facts, str):
        return facts
    try:
        return Sentence(facts["code"], {name: from_facts(value) for name, value in facts["fields"].items()})
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"no sentence: {facts!r}") from error
