"""The texts of the windows, one file a language; what the engine says in its log stays English."""

from __future__ import annotations

import locale
import os
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from zemosaic_app.durations import rounded_duration
from zemosaic_engine.settings import SettingField

from .sentences import Sentences

#: Code and own name of each language that there is.
LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español", "fr": "Français"}


class Texts:
    """The texts of one language.

    Parameters
    ----------
    language : str
        Its code.
    entries : mapping of str to str
        Texts by key, ``"run.start"``; words in braces are filled in.

    Attributes
    ----------
    sentence : Sentences
        Translates what the engine says: errors, reasons, values of metrics.
    """

    def __init__(self, language: str, entries: Mapping[str, str]) -> None:
        self.language = language
        self._entries = entries
        words = {**_group("unit", entries), **_group("sentence", entries)}
        self.sentence = Sentences(words, entries["number.mark"])

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key with its values filled in; `KeyError` for a key that no language has."""
        text = self._entries[key]
        return text.format(**values) if values else text

    def counted(self, key: str, n: int, **values: Any) -> str:
        """The text of a key for a number of things, `n` in it; that for one thing has a text of its own."""
        is_one = n == 1 or (n == 0 and self.language == "fr")
        return self(f"{key}_one" if is_one else key, n=n, **values)

    def name_of(self, prefix: str, word: str) -> str:
        """The text for a word of the engine (a unit, a phase ...); the word itself if it is new here."""
        return self._entries.get(f"{prefix}.{word}", word)

    def listed(self, key: str, items: str) -> str:
        """A name with what belongs to it behind a colon, as the language sets it."""
        return self.listed_text(self(key), items)

    def listed_text(self, name: str, value: str) -> str:
        """As `listed`, for a name that is already translated."""
        return self("form.pair", name=name, value=value)

    def help_of(self, field: SettingField) -> str:
        """The sentence of a setting. In English it is that of the settings model, which is its one place."""
        return field.help if self.language == "en" else self(f"help.{field.name}")

    def decimal(self, text: str) -> str:
        """Return a written number with the decimal mark of the language."""
        return text.replace(".", self("number.mark"))

    def spoken(self, text: str) -> str:
        """Return a text of the report: a sentence, a word or a number, in the language; any other as it is."""
        return self.sentence.word(text)

    def channel(self, name: str) -> str:
        """Return the letter of a colour channel in the language: R V B in French."""
        return self.name_of("letter", name)

    def size(self, size_bytes: float) -> str:
        """Bytes as gigabytes."""
        return self("run.gigabytes", n=self.decimal(f"{size_bytes / 1e9:.1f}"))

    def duration(self, seconds: float) -> str:
        """A duration as people say it, no finer than an estimate deserves."""
        return rounded_duration(seconds, self)


def _group(name: str, entries: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(f"{name}."): text for key, text in entries.items() if key.startswith(f"{name}.")}


def read_entries(language: str) -> dict[str, str]:
    """Return every text of a language by its key, from all files whose names begin with its code."""
    folder, found = resources.files(__package__) / "texts", {}
    names = sorted(file.name for file in folder.iterdir() if file.name.removesuffix(".toml").split("-")[0] == language)
    for name in names:
        groups = tomllib.loads((folder / name).read_text(encoding="utf-8"))
        found.update({f"{group}.{key}": text for group, entries in groups.items() for key, text in entries.items()})
    return found


def load_texts(language: str = "") -> Texts:
    """The texts of a language; of the system's if none is named, English if that is not there."""
    code = language or system_language()
    code = code if code in LANGUAGES else "en"
    return Texts(code, read_entries(code))


def system_language() -> str:
    """Two letters of the language that the system is set to."""
    named = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return (named or locale.getlocale()[0] or "en")[:2].lower()
