"""Sentences keep what they are made of, and every one that a window can show has a translation."""

import ast
import errno
import json
import os
import pickle
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from zemosaic_app.presenter.messages import JobEnded, decode, encode
from zemosaic_app.presenter.sentences import Sentences
from zemosaic_app.presenter.texts import load_texts, read_entries
from zemosaic_engine.errors import SettingsError, SubError
from zemosaic_engine.events import LogLine, Metric, SubSetAside
from zemosaic_engine.sentences import Sentence, code_of, from_facts, joined, say, to_facts
from zemosaic_engine.settings import build_settings, setting_fields

ROOT = Path(__file__).resolve().parents[2]
FRENCH = {key.removeprefix("sentence."): text for key, text in read_entries("fr").items() if key.startswith("sent")}
#: Errors whose message a window can show; what only commands of their own raise is in `ELSEWHERE`.
ERRORS = {"SettingsError": 0, "RunError": 0, "SubError": 1, "SubFault": 1}
ELSEWHERE = ("comparison/", "simulate/", "run/host.py", "mosaic/reader.py")


@cache
def trees():
    """Name and syntax of every module that may speak to people; parsed once for all tests."""
    paths = [*(ROOT / "zemosaic_engine").rglob("*.py"), *ROOT.glob("*_mode.py")]
    paths += [ROOT / "zemosaic_worker.py", ROOT / "zemosaic_watch.py"]
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def is_said(node):
    """True for a call of `say` whose pattern is written there."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "say" and isinstance(node.args[0], ast.Constant)


def said():
    """Code of every sentence in the source, with the fields that it is given."""
    for name, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "say"
                and isinstance(node.args[0], ast.Constant)
            ):
                yield name, code_of(node.args[0].value), {keyword.arg for keyword in node.keywords}


def raised():
    """Every message of an error that is written where it is raised."""
    for name, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and (kind := ast.unparse(node.func)) in ERRORS
                and len(node.args) > ERRORS[kind]
            ):
                yield f"{name}:{node.lineno}", node.args[ERRORS[kind]]


def fields_of(text):
    return set(re.findall(r"\{(\w+)\}", text))


def test_a_sentence_is_its_text_and_keeps_what_it_is_made_of():
    sentence = say("only {share:.0f} % of {path!r}", share=41.7, path="a.fits")
    assert sentence == "only 42 % of 'a.fits'"
    assert sentence.code == "only {share} % of {path}"
    assert sentence.shown() == {"share": "42", "path": "'a.fits'"}
    for again in (pickle.loads(pickle.dumps(sentence)), str(SettingsError(sentence))):
        assert (again, again.code, again.fields) == (sentence, sentence.code, sentence.fields)


def test_values_from_files_do_not_speak_to_terminals():
    sentence = say("its filter is {value!r} in {path}", value="\x1b[2J\nL", path=Path("/a\tb/\udce9.fits"))
    assert sentence.isprintable()
    assert r"\x1b[2J\n" in sentence.fields["value"]
    assert sentence.endswith(r"/a\tb/\xe9.fits")
    assert str(SubError("a\nb.fits", "its card is \x07")) == r"a\nb.fits: its card is \x07"


@pytest.mark.parametrize(
    ("spec", "value", "text"),
    [
        (".2g", 340.2, "340"), (".2g", 1019.0, "1000"), (".4g", 30123.4, "30120"), ("+.3g", 12345.0, "+12300"),
        (".2g", -99600.0, "-100000"), ("g", 2.5e6, "2500000"), (".4g", 0.00461, "0.00461"), (".2g", 1.5e-7, "1.5e-07"),
        (".3g", 7e22, "7e+22"), (".1e", 340.0, "3.4e+02"), (".2g", float("nan"), "nan"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(spec, value, text):
    pattern = f"level {{level:{spec}}} ADU"
    for kind in (float, np.float64, np.float32):
        sentence = pickle.loads(pickle.dumps(say(pattern, level=kind(value))))
        assert sentence == f"level {text} ADU"
        assert sentence.shown() == {"level": text}


def test_very_long_values_are_shortened():
    long = say("{value}", value="x" * 100_000 + "end")
    assert len(long) < 500
    assert long.startswith("xxx")
    assert long.endswith("xend")
    assert say("{value}", value=long.fields["value"]) == long
    assert len(SubError("a", "y" * 100_000).reason) < 500
    kept = say("{why}", why=say("z" * 1000))
    assert len(kept) == 1000  # words of the program itself are whole


def test_plain_facts_give_the_sentence_back():
    sentence = say("{why}; at {place:.1f}", why=say("no {thing}", thing="stars"), place=2)
    again = from_facts(json.loads(json.dumps(to_facts(sentence))))
    assert again == sentence
    assert isinstance(again.fields["why"], Sentence)
    assert from_facts("plain") == to_facts("plain") == "plain"
    with pytest.raises(ValueError, match="no sentence"):
        from_facts({"code": "{a}", "fields": {}})


@pytest.mark.parametrize(
    "message",
    [
        LogLine(say("{n} tiles", n=3), "WARN", "CLASSIC"),
        Metric(say("{adu:.2f} ADU", adu=1.234), figure="Seam step", channel="R", when="after"),
        JobEnded("failed", say("No tile has a valid pixel")),
    ],
)
def test_sentences_go_through_the_pipe(message):
    again = decode(encode(message))
    assert again == message
    assert [to_facts(getattr(again, name)) for name in ("text", "reason") if hasattr(again, name)] == [
        to_facts(getattr(message, name)) for name in ("text", "reason") if hasattr(message, name)
    ]


def test_reasons_go_through_the_pipe_and_are_translated():
    error = decode(encode(SubSetAside(SubError("/a/b.fits", say("it cannot be read: {why}", why=os.strerror(13))))))
    assert load_texts("fr").sentence(error.error.reason) == "le fichier ne peut pas être lu : permission refusée"


def test_prefixes_are_made_of_the_source():
    assert LogLine("done").line == "[GRID] done"
    assert LogLine("done", source="").line == "done"
    metric = Metric("0.1 ADU", source="CLASSIC", figure="Seam step", channel="R", when="after")
    assert metric.line == "[CLASSIC][METRICS] Seam step (channel R): 0.1 ADU (after scaling)"


def test_no_prefix_stands_in_the_source():
    """Prefixes are made by the events alone; the logger of the host's helpers is an adapter of its own."""
    allowed = ("zemosaic_engine/events.py", "zemosaic_engine/photometry/")
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        if not name.startswith(allowed)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"\[(GRID|CLASSIC)\]", node.value)
    ]
    assert wrong == []


def test_every_error_is_a_sentence():
    """An f-string would reach a window of another language in English."""
    wrong = [
        where
        for where, message in raised()
        if isinstance(message, ast.JoinedStr) and not any(part in where for part in ELSEWHERE)
    ]
    assert wrong == []


def test_every_sentence_of_an_error_is_translated():
    codes = {
        code_of(node.args[0].value)
        for where, message in raised()
        if not any(part in where for part in ELSEWHERE)
        for node in ast.walk(message)
        if is_said(node)
    } | {
        message.value
        for where, message in raised()
        if isinstance(message, ast.Constant) and not any(part in where for part in ELSEWHERE)
    }
    assert len(codes) > 80
    assert sorted(codes - set(FRENCH)) == []


def test_every_value_of_a_metric_and_its_name_is_translated():
    french = read_entries("fr")
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("reporter.metric"):
                assert f"metric.{node.args[0].value}" in french, f"{name}:{node.lineno}"


def test_sentences_are_given_the_fields_that_they_name():
    given = {}
    for name, code, fields in said():
        assert fields_of(code) <= fields, f"{name}: {code}"
        given[code] = fields
    assert len(given) > 150


def test_errors_of_the_system_are_translated():
    for number in (errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ESTALE):
        assert os.strerror(number) in FRENCH


def test_values_are_left_as_they_are():
    french = load_texts("fr").sentence
    sentence = say("The input folder {folder} {why}.", folder="/data/is not a folder 5 GB", why=say("does not exist"))
    assert french(sentence) == "Le dossier des brutes /data/is not a folder 5 GB n'existe pas."
    braces = say("The input folder {folder} {why}.", folder="/data/{why}", why=say("does not exist"))
    assert french(braces) == "Le dossier des brutes /data/{why} n'existe pas."


def test_what_nobody_translated_stays_and_english_is_left_alone():
    french = load_texts("fr").sentence
    assert french("Some new words of the engine") == "Some new words of the engine"
    assert french(say("{n} new words", n=2)) == "2 new words"
    assert load_texts("en").sentence(say("it is empty")) == "it is empty"
    both = joined([say("it is empty"), "new words"], end=".")
    assert both == "it is empty; new words."
    assert french(both) == "le fichier est vide ; new words."


def test_translations_cannot_reach_into_what_was_filled_in():
    assert Sentences({"{a}": "<{a}>"})(say("{a}", a="{b}")) == "<{b}>"


def test_problems_of_settings_are_translated():
    french = load_texts("fr").sentence
    for field in setting_fields():
        assert not re.search(r"\b(at least|above|at most|below|number)\b", french(field.expects)), field.name
    with pytest.raises(SettingsError) as raised:
        build_settings({"no_such": 1}, file_name="x.json")
    assert french(str(raised.value)).startswith("x.json a la clé inconnue 'no_such' (")
    with pytest.raises(SettingsError) as raised:
        build_settings({"threads": -1, "thread": 2, "device": "cudda"}, file_name="x.json")
    assert french(str(raised.value)) == (
        "device dans x.json vaut 'cudda' mais doit être un de ces mots : auto, cpu, cuda (vouliez-vous cuda ?) ; "
        "threads dans x.json vaut -1 mais doit être un nombre entier, au moins 0 et au plus 4096 ; "
        "x.json a la clé inconnue 'thread' (la clé valable la plus proche est 'threads')."
    )


def test_names_of_folders_stay_and_places_in_files_are_translated():
    french = Sentences(
        {"subs": "brutes", "{file}, line {n}": "{file}, ligne {n}", "{file} is empty": "{file} est vide"}
    )
    assert french(say("{file} is empty", file="subs")) == "subs est vide"
    assert french(say("{file} is empty", file=say("{file}, line {n}", file="subs", n=2))) == "subs, ligne 2 est vide"
