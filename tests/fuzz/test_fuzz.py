"""The standing guard: it finds nothing among its first cases, and it would find what is planted."""

from __future__ import annotations

import random
import sys

import pytest

from benchmarks import fuzz
from benchmarks.mutators import mutated_record, mutated_sub, mutated_text, samples_of
from zemosaic_engine.sentences import say
from zemosaic_engine.subs import frames, stack_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fuzz.prepare(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def samples(folder):
    return samples_of(folder / "survey", folder / "out" / ".zemosaic")


@pytest.mark.filterwarnings("ignore")
def test_the_first_cases_find_nothing(samples, tmp_path):
    results = {name: fuzz.try_case(name, samples, tmp_path) for name in map(fuzz.name_of, range(150))}
    assert {name: result for name, result in results.items() if result not in ("used", "refused")} == {}
    assert {"used", "refused"} <= set(results.values())


def test_a_case_is_made_from_its_name_alone(samples):
    for make in (
        lambda choice: mutated_sub(samples, choice),
        lambda choice: mutated_text(samples.plan, choice),
        lambda choice: mutated_record(samples, choice),
    ):
        assert make(random.Random("sub-1")) == make(random.Random("sub-1"))
        assert len({str(make(random.Random(f"sub-{number}"))) for number in range(20)}) > 10


@pytest.mark.parametrize(
    ("module", "function", "error", "word"),
    [
        (frames, "_camera", KeyError("planted"), "fault"),
        (stack_plan, "_columns_of", KeyError("planted"), "foreign"),
        (stack_plan, "_columns_of", MemoryError(), "memory"),
        (stack_plan, "_columns_of", stack_plan.SettingsError("\x1b[2J"), "sentence"),
        (stack_plan, "_columns_of", stack_plan.SettingsError("x" * 2000), "sentence"),
    ],
)
def test_what_is_planted_is_found(samples, tmp_path, monkeypatch, module, function, error, word):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(module, function, fail)
    kind = "sub" if module is frames else "plan"
    results = [fuzz.try_case(f"{kind}-{number}", samples, tmp_path) for number in range(20)]
    assert any(result.startswith(word) for result in results)


_SERVER = """
import json, os, sys, time
for line in sys.stdin:
    name = line.strip()
    print(json.dumps({"begins": name}), flush=True)
    if name == "sub-2":
        os.abort()
    if name == "sub-4":
        time.sleep(60)
    seconds, peak = 9.0 if name == "sub-6" else 0.1, 5e9 if name == "sub-7" else 1e6
    print(json.dumps({"ends": name, "result": "used", "seconds": seconds, "peak": peak}), flush=True)
"""


def test_crashes_hangs_and_appetite_are_found_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "_command", lambda folder: [sys.executable, "-c", _SERVER])
    monkeypatch.setattr(fuzz, "_PATIENCE_S", 1.0)
    *_, found = fuzz.work_off([f"sub-{number}" for number in range(9)], tmp_path)
    assert found.counts["used"] == 7
    assert found.counts["crash"] == 2
    assert [line.split(":")[0] for line in found.wrong] == ["sub-2", "sub-4", "sub-6", "sub-7"]


def test_a_sentence_holds_no_control_characters_and_is_of_decent_length():
    sentence = say("{path} is {what}.", path="a\x1b[2J\x00\u202e\udcff.fits", what="x" * 100_000)
    assert sentence.isprintable()
    assert r"a\x1b[2J\x00\u202e\xff.fits" in sentence
    assert len(sentence) < 500
    assert say("{name}", name="Été à Köln 東京.fits") == "Été à Köln 東京.fits"


@pytest.mark.slow
def test_a_folder_with_hostile_subs_gives_the_bytes_of_one_without(folder):
    *_, (count, wrong) = fuzz.try_folders(range(2), folder)
    assert (count, wrong) == (2, [])
