"""The pinned versions fit what the project asks for, and pins that do not would be found."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from packaging.requirements import Requirement

_PATH = Path(__file__).resolve().parents[2] / "tools" / "check_pins.py"
_SPEC = importlib.util.spec_from_file_location("check_pins", _PATH)
check_pins = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(check_pins)


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    assert check_pins.differences(check_pins.read_pins(), check_pins.requirements()) == []


@pytest.mark.parametrize(
    ("pins", "installed", "told"),
    [
        ({}, {}, "numpy is required and not pinned"),
        ({"numpy": "1.0"}, {}, "numpy is pinned to 1.0, which numpy>=1.26 does not allow"),
        ({"numpy": "2.0"}, {"numpy": "2.1"}, "numpy is pinned to 2.0, but 2.1 is installed"),
        ({"numpy": "2.0", "scipy": "newest"}, {}, "scipy is pinned to newest, which is no version"),
    ],
)
def test_pins_that_do_not_fit_are_found(pins, installed, told):
    assert told in check_pins.differences(pins, [Requirement("numpy>=1.26")], installed)


def test_lines_that_are_no_pins_are_found(tmp_path):
    (tmp_path / "constraints.txt").write_text("numpy>=1.26\n")
    with pytest.raises(ValueError, match="is no pin"):
        check_pins.read_pins(tmp_path / "constraints.txt")
