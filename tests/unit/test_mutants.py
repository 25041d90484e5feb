"""Faults that are planted to try the tests: each fits the program, and is in the process that it is planted in."""

from __future__ import annotations

import ast

import pytest

from benchmarks.faults import FAULTS, Fault
from benchmarks.harmless import HARMLESS
from benchmarks.line_map import ROOT
from benchmarks.mutants import NoLongerFitsError, planted, try_fault
from benchmarks.mutate import mutants_of

SOURCE = b'''"""A text of 3 words."""

def mean(values, low: int = 2) -> float:
    """Return 1."""
    if low < len(values) and not values[0]:
        raise ValueError("less than 2")
    assert list(zip(values, values, strict=True))
    return sum(values, low, strict=True) / len(values)  # \xc3\xa9
'''


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_fault_of_the_list_fits_its_function(fault):
    ast.parse(planted(fault))
    for test in fault.tests:
        assert (ROOT / test.split("::")[0]).is_file(), test


@pytest.mark.parametrize("one", HARMLESS, ids=lambda one: f"{one.file}: {one.old}")
def test_every_fault_that_is_named_as_harmless_is_made_in_lines_of_one_text(one):
    source = (ROOT / one.file).read_bytes()
    lines = source.decode().splitlines()
    made = mutants_of(one.file, source)
    assert len({lines[mutant.line - 1].strip() for mutant in made if one.is_it(mutant)}) == 1


def test_there_are_enough_faults_and_none_twice():
    assert len({(fault.file, fault.function, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS) >= 80


def test_a_fault_that_no_longer_fits_says_so():
    for function, old in (("partition", "no such text"), ("no_such_function", "math"), ("partition", "tiles")):
        with pytest.raises(NoLongerFitsError):
            planted(Fault("zemosaic_engine/geometry.py", function, old, "", ()))


def test_mutants_change_code_and_leave_texts_for_people():
    made = {mutant.new for mutant in mutants_of("m.py", SOURCE)}
    assert made == {
        "(3)", "(low <= len(values))", "(low < len(values) or not values[0])", "(values[0])", "(1)",
        "(sum(values, low, strict=True) * len(values))", "(sum(low, values, strict=True))",
    }  # fmt: skip
    for mutant in mutants_of("m.py", SOURCE):
        ast.parse(mutant.text(SOURCE))
        assert SOURCE[mutant.begin : mutant.end].decode() == mutant.old


@pytest.mark.slow
def test_the_process_of_the_tests_has_the_fault_and_the_file_has_not():
    file = "zemosaic_engine/clock.py"
    before = (ROOT / file).read_text()
    test = "tests/unit/test_clock.py::test_a_phase_that_overruns_pushes_the_end_out"
    fault = next(fault for fault in FAULTS if fault.file == file)
    assert try_fault("clock", file, planted(fault), [test], 60.0).came == "caught"
    assert try_fault("clock", file, before, [test], 60.0).came == "survived"
    assert (ROOT / file).read_text() == before
