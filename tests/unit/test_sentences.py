"""Every sentence of the engine that a window can show has a translation: looked for in the source, not in a list."""

import ast
import errno
import itertools
import os
import re
from functools import cache
from pathlib import Path

import pytest

from zemosaic_app.presenter.sentences import Sentences
from zemosaic_app.presenter.texts import Texts, load_texts, read_entries
from zemosaic_app.presenter.view_state import parse_metric
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.settings import build_settings, setting_fields

ROOT = Path(__file__).resolve().parents[2]
# What no window runs: commands of their own, and what is said before there is a window.
_ELSEWHERE = (
    "zemosaic_app/cli.py", "zemosaic_app/console.py", "zemosaic_app/windows.py", "zemosaic_app/tk/__init__.py",
    "zemosaic_app/report/", "zemosaic_engine/comparison/", "zemosaic_engine/run/host.py", "zemosaic_engine/simulate/",
)  # fmt: skip
_RAISED = {"SettingsError": 0, "RunError": 0, "SubError": 1, "SubFault": 1, "Cancelled": 0, "JobEnded": 1}
# Modules whose ValueErrors are the words of a SubError or of a SettingsError.
_BY_VALUE = ("zemosaic_engine/fits/headers.py", "zemosaic_engine/settings.py")
_PASSED_ON = {
    "str(error)", "facts['reason']", "calibration.reason", "reason", "sub.reason",  # a message of elsewhere
    "next(iter(self.problems.values()))", "self.texts('problem.no_input')", "self.texts('problem.no_output')",
    "'; '.join(dict.fromkeys(problems)) + '.'",  # each of them is returned by a function, and tested below
}  # fmt: skip
_NAMES = {"grid", "classic", "open", "xdg-open"}  # of modes and commands: alike in all languages
_HOLE = "{}"


def modules():
    for path in sorted([*ROOT.glob("*_mode.py"), ROOT / "zemosaic_worker.py", *ROOT.glob("zemosaic_*/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(_ELSEWHERE):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def name_of(call):
    return ast.unparse(call.func).split(".")[-1]


@cache
def functions():
    """Functions of a whole program by their names, for messages that a function makes."""
    return {node.name: node for _, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


class Message:
    """What an expression can say: texts with a hole for each value, and the words that may stand in the holes."""

    def __init__(self, scopes):
        self.scopes, self.words = scopes, set()

    def texts(self, node):
        """All texts that a node may become; none if that is not to be seen in the source."""
        match node:
            case ast.Constant(value=str(text)):
                return {text.replace("{", "{{").replace("}", "}}")}
            case ast.JoinedStr(values=parts):
                return self._joined(parts)
            case ast.IfExp(body=body, orelse=other):
                return self.texts(body) | self.texts(other)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return {a + b for a, b in itertools.product(self.texts(left), self.texts(right))}
            case ast.BoolOp(values=values):
                return set().union(*map(self.texts, values))
            case ast.Name(id=name):
                return set().union(*(self.texts(value) for value in self._values(name)), set())
            case ast.Call(func=ast.Attribute(value=pattern, attr="format")):
                return {re.sub(r"\{\{.*?\}\}", _HOLE, text) for text in self.texts(pattern)}
            case ast.Call() if name_of(node) in functions():
                made = functions()[name_of(node)]
                inner = Message([made])
                found = set().union(
                    *(inner.texts(n.value) for n in ast.walk(made) if isinstance(n, ast.Return) and n.value), set()
                )
                self.words |= inner.words
                return found
        return set()

    def _joined(self, parts):
        text = ""
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                self.words |= self.texts(part.value)
                text += _HOLE
            else:
                text += part.value.replace("{", "{{").replace("}", "}}")
        return {text}

    def _values(self, name):
        for scope in self.scopes:
            found = [
                node.value for node in ast.walk(scope)
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
                and any(ast.unparse(t) == name for t in getattr(node, "targets", [getattr(node, "target", None)]))
            ]  # fmt: skip
            if found:
                return found
        return []


def calls_with_scopes(tree):
    """Every call and every assignment with the innermost function around it."""

    def visit(node, scopes):
        for child in ast.iter_child_nodes(node):
            inner = [child, *scopes] if isinstance(child, ast.FunctionDef) else scopes
            yield child, inner
            yield from visit(child, inner)

    yield from visit(tree, [tree])


def said(name, node):
    """The expressions of a node that become a message."""
    if isinstance(node, ast.Call):
        called = name_of(node)
        if called in _RAISED and len(node.args) > _RAISED[called]:
            yield node.args[_RAISED[called]]
        elif called == "ValueError" and (name in _BY_VALUE or "colour filter array" in ast.unparse(node)):
            yield node.args[0]
        elif called == "replace":
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "problem")
        elif called in ("log", "_say") and node.args and "[METRICS] " in ast.unparse(node.args[0]):
            yield node.args[0]
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("reason", "reasons[number]"):
        yield node.value


@cache
def sentences():
    """Every sentence of the engine with its place; the words that are filled in; what could not be followed."""
    found, words, lost = {}, set(), []
    for name, tree in modules():
        for node, scopes in calls_with_scopes(tree):
            for expression in said(name, node):
                message = Message(scopes)
                texts = message.texts(expression) - {"", _HOLE}
                words |= message.words
                found |= dict.fromkeys(texts, f"{name}:{node.lineno}")
                if not texts and isinstance(node, ast.Call) and ast.unparse(expression) not in _PASSED_ON:
                    lost.append(f"{name}:{node.lineno}: {ast.unparse(expression)}")
    return found, words, lost


def holes(text):
    return re.sub(r"\{\w*\}", _HOLE, text)


def filled(text):
    """A text with a value of its own in each hole."""
    numbers = itertools.count(1)
    return re.sub(r"\{\}", lambda _: f"«{next(numbers)}»", text).replace("{{", "{").replace("}}", "}")


def values_in(text):
    return sorted(re.findall("«\\d+»", text))


ENTRIES = {key.removeprefix("sentence."): text for key, text in read_entries("fr").items() if key.startswith("sent")}
PSEUDO = Texts("pseudo", {key: f"⟦{text}⟧" for key, text in read_entries("fr").items()})


def test_messages_of_every_kind_are_found():
    found, words, lost = sentences()
    assert not lost
    assert len(found) > 100
    for text in (
        "it is truncated: only {} % of its {} pixels are there",  # raised as it is
        "it has no celestial WCS: it was not plate-solved",  # returned by a function
        "The folder {} holds no file named .fit, .fits, .fts (also with .gz behind), .fz, .tif, .xisf or like the "
        "raw files of cameras{}",  # of another module
        "it shows {} stars where the usual sub shows {}: clouds, or no light at all",  # filled in later
        "its sky fits the other subs {} sigma worse than usual; raise sub_max_deviation to use it, or set it to 0",
    ):
        assert text in found
    assert {"is not a folder", "a text file", "; the system does that when memory runs out"} <= words


@pytest.mark.parametrize("sentence", sorted(sentences()[0]))
def test_every_sentence_is_translated(sentence):
    text = filled(sentence)
    if "[METRICS]" in text:
        metric = parse_metric(re.sub("«\\d+» scaling", "after scaling", text.replace("channel «1»", "channel R")))
        assert f"metric.{metric.figure}" in read_entries("fr")
        text = metric.value
        if re.fullmatch("«\\d+»", text):
            return  # words of their own, looked at below
    french = load_texts("fr").sentence(text)
    assert PSEUDO.sentence(text).startswith("⟦"), f"{sentences()[0][sentence]} has no translation: {sentence}"
    assert values_in(french) == values_in(text)


def test_words_that_are_filled_in_are_translated():
    words = {word for word in sentences()[1] if re.search("[a-z]{3}", holes(word))} - _NAMES
    assert len(words) > 15

    def is_translated(word):
        return any(PSEUDO.sentence(text).startswith("⟦") for text in (filled(word), repr(word)))

    assert [word for word in sorted(words) if not is_translated(word)] == []


def test_no_translation_is_left_of_a_sentence_that_is_gone():
    source = "".join(
        part.value
        for path in [
            *ROOT.glob("*.py"),
            *(ROOT / "zemosaic_engine").rglob("*.py"),
            *(ROOT / "zemosaic_app").rglob("*.py"),
        ]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for part in ([node] if isinstance(node, ast.Constant) and isinstance(node.value, str) else [])
    )
    of_system = {os.strerror(number) for number in errno.errorcode}
    for entry in set(ENTRIES) - of_system:
        pieces = [piece.strip(" ,()'") for piece in re.split(r"\{\w+\}| and ", entry)]
        assert all(piece in source for piece in pieces if len(piece) > 4), entry


def test_errors_of_the_system_are_translated():
    for number in (errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ESTALE):
        assert os.strerror(number) in ENTRIES
    french = load_texts("fr").sentence
    assert french("The log /a/b.txt cannot be written: No space left on device.") == (
        "Le journal /a/b.txt ne peut pas être écrit : plus de place sur le disque."
    )


def test_fields_are_the_same_in_both_languages():
    for english, french in ENTRIES.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", french)), english


def test_values_are_left_as_they_are():
    french = load_texts("fr").sentence
    assert french("The input folder /data/is not a folder 5 GB does not exist.") == (
        "Le dossier des brutes /data/is not a folder 5 GB n'existe pas."
    )
    assert french("The mosaic needs about 5.0 GB in /x 3 GB, but only 1.0 MB are free there; "
                  "make room or choose another output folder.") == (
        "La mosaïque demande environ 5.0 Go dans /x 3 GB, mais 1.0 Mo seulement y sont libres ; "
        "faites de la place ou choisissez un autre dossier de sortie."
    )  # fmt: skip


def test_what_nobody_translated_stays_and_english_is_left_alone():
    assert load_texts("fr").sentence("Some new words of the engine") == "Some new words of the engine"
    assert load_texts("en").sentence("it is empty") == "it is empty"


def test_the_sentence_that_says_more_is_taken():
    sentences = Sentences({"The {why} lost.": "[{why}]", "The folder {path} is lost.": "Le dossier {path} est perdu."})
    assert sentences("The folder /a is lost.") == "Le dossier /a est perdu."


def test_problems_of_settings_are_translated():
    for field in setting_fields():
        assert PSEUDO.sentence(field.expects).startswith("⟦"), field.name
        assert not re.search(r"\b(at least|above|at most|below|number)\b", PSEUDO.sentence(field.expects))
    with pytest.raises(SettingsError) as raised:
        build_settings({"no_such": 1}, file_name="x.json")
    assert load_texts("fr").sentence(str(raised.value)).startswith("x.json a la clé inconnue 'no_such' (")
    with pytest.raises(SettingsError) as raised:
        build_settings({"threads": -1, "thread": 2, "device": "cudda"}, file_name="x.json")
    assert load_texts("fr").sentence(str(raised.value)) == (
        "device dans x.json vaut 'cudda' mais doit être un de ces mots : auto, cpu, cuda (vouliez-vous cuda ?) ; "
        "threads dans x.json vaut -1 mais doit être un nombre entier, au moins 0 ; "
        "x.json a la clé inconnue 'thread' (la clé valable la plus proche est 'threads')."
    )
