"""Every text of the windows is there in every language."""

import ast
import re
import string
from pathlib import Path

import pytest

import classic_mode
import grid_mode
from zemosaic_app.presenter.form import form_groups
from zemosaic_app.presenter.texts import LANGUAGES, load_texts, read_entries
from zemosaic_engine.settings import setting_fields

APP = Path(__file__).resolve().parents[2] / "zemosaic_app"
ENTRIES = {code: read_entries(code) for code in LANGUAGES}


def used_keys(tree):
    """Keys that a module asks for: constants in calls of a Texts, called ``texts``, ``self._texts``, ``text`` ..."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].strip("_") in ("texts", "t"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield argument.value
                elif isinstance(argument, ast.JoinedStr):
                    yield argument.values[0].value + "*"
                else:
                    yield from (
                        n.value for n in ast.walk(argument) if isinstance(n, ast.Constant) and "." in str(n.value)
                    )


def in_braces(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


OTHERS = [code for code in LANGUAGES if code != "en"]
HELPS = {f"help.{field.name}" for field in setting_fields()}


def without_sentences(entries):
    return {key for key in entries if not key.startswith("sentence.")}


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_has_every_key_and_no_other(code):
    assert without_sentences(ENTRIES[code]) - HELPS == without_sentences(ENTRIES["en"])
    assert set(ENTRIES[code]) >= HELPS
    assert set(ENTRIES[code]) == set(ENTRIES["fr"]), "sentences of the engine and of the report"
    assert set(ENTRIES["en"]) <= set(ENTRIES["fr"])


@pytest.mark.parametrize("code", OTHERS)
def test_translations_fill_in_the_same_words(code):
    for key, text in ENTRIES[code].items():
        english = key.removeprefix("sentence.") if key.startswith("sentence.") else ENTRIES["en"].get(key, "")
        assert in_braces(text) == in_braces(english), key
    for key, text in ENTRIES["en"].items():
        if key.startswith("sentence."):
            assert in_braces(text) == in_braces(key.removeprefix("sentence.")), key


@pytest.mark.parametrize("code", OTHERS)
def test_sentences_are_translated(code):
    """Single words may be the same in both; sentences cannot."""
    same = {key for key, text in ENTRIES["en"].items() if text == ENTRIES[code][key] and len(text.split()) > 2}
    same |= {
        key
        for key, text in ENTRIES[code].items()
        if key == f"sentence.{text}" and len(re.sub(r"\{\w+\}", "", text).split()) > 2
    }
    figures = {"{limit} mag (5 sigma)", "{width} x {height} degrees", "{width} x {height} arcminutes"}
    assert same <= {"mosaic.spot", "duration.hours", *(f"sentence.{text}" for text in figures)}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_window_names_its_buttons_and_no_command(code):
    """Who sits before a window gives no command; options of the command line are settings there."""
    for key, text in ENTRIES[code].items():
        if key.startswith("sentence.") and "same command" in key:
            assert not re.search("command|commande|Befehl|orden", text), key
            assert any(ENTRIES[code][f"run.{name}"] in text for name in ("go_on", "start")) or "--" not in text, key


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: path.relative_to(APP).as_posix())
def test_every_key_that_is_used_is_there(path):
    for key in used_keys(ast.parse(path.read_text(encoding="utf-8"))):
        if key.endswith("*"):
            assert any(known.startswith(key[:-1]) for known in ENTRIES["fr"]), key
        else:
            assert key in ENTRIES["en"], key


def test_a_missing_key_would_be_found():
    assert list(used_keys(ast.parse("self.texts('a.b')\ntexts(f'c.{name}')\nt('x.y' if z else 'd.e')"))) == [
        "a.b",
        "c.*",
        "x.y",
        "d.e",
    ]


@pytest.mark.parametrize("code", LANGUAGES)
def test_words_of_the_engine_have_a_text(code):
    entries = ENTRIES[code]
    for name, _ in (*grid_mode._PHASES, *classic_mode._PHASES):
        assert f"phase.{name}" in entries
    for field in setting_fields():
        assert f"label.{field.name}" in entries
        assert not field.unit or f"unit.{field.unit}" in entries
        assert all(f"choice.{choice}" in entries for choice in field.choices)


def test_the_form_speaks_french():
    fields = [field for group in form_groups(load_texts("fr")) for field in group.fields]
    assert {field.name for field in fields} == {field.name for field in setting_fields()}
    overlap = next(field for field in fields if field.name == "batch_overlap_pct")
    assert (overlap.label, overlap.limits) == ("Recouvrement", "au moins 1, au plus 90")
    assert not {field.help for field in fields} & {field.help for field in setting_fields()}


def test_an_unknown_language_is_english():
    assert load_texts("xx")("run.start") == "Start"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "quelques secondes"), (22, "20 s"), (600, "10 min"), (7300, "2 h 02 min")]
)
def test_durations_are_no_finer_than_they_deserve(seconds, text):
    assert load_texts("fr").duration(seconds) == text


@pytest.mark.parametrize("code", LANGUAGES)
def test_one_thing_is_told_in_the_singular(code):
    """Whatever has a text for one thing says something else of several; French has none in the singular, too."""
    texts = load_texts(code)
    counted = [key for key in ENTRIES[code] if f"{key}_one" in ENTRIES[code]]
    assert {"found.subs", "found.tiles", "watch.in_mosaic", "summary.exposure"} <= set(counted)
    for key in counted:
        one, several, none = (
            texts.counted(key, n, shown=n, total=n, time="5 s").replace(str(n), "#") for n in (1, 7, 0)
        )
        assert one != several
        assert none == (one if code == "fr" else several)
