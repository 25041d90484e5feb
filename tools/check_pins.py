"""Compares the pinned versions of `constraints.txt` with what the project asks for and with what is installed.

::

    python tools/check_pins.py            every pin is allowed by pyproject.toml, every requirement is pinned
    python tools/check_pins.py --installed     and what is installed is what is pinned
    python tools/check_pins.py --write    pin what is installed, with all that it needs

Without network. Ends with exit code 1 and a line for each difference.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "constraints.txt"
_HEAD = (
    "# Versions with which all tests passed: pip install -c constraints.txt -e '.[test,qt]'\n"
    "# Made by tools/check_pins.py --write\n"
)
_NOT_PINNED = ("cupy-cuda12x", "cupy-cuda13x", "rawpy")  # which not every machine that makes the pins can install


def requirements(project: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """What the project asks for, with all its extras."""
    told = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    lists = [told["dependencies"], *told.get("optional-dependencies", {}).values()]
    found = [Requirement(text) for texts in lists for text in texts]
    return [one for one in found if canonicalize_name(one.name) not in _NOT_PINNED]


def read_pins(path: Path = PINS) -> dict[str, str]:
    """Version of each distribution, by its normal name."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text:
            name, equal, version = text.partition("==")
            if not equal or not version:
                raise ValueError(f"{path.name}: {line!r} is no pin (name==version)")
            pins[canonicalize_name(name)] = version
    return pins


def differences(pins: dict[str, str], wanted: list[Requirement], installed: dict[str, str] | None = None) -> list[str]:
    """One line for everything that does not fit."""
    lines = []
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name not in pins:
            lines.append(f"{name} is required and not pinned")
        elif not requirement.specifier.contains(pins[name], prereleases=True):
            lines.append(f"{name} is pinned to {pins[name]}, which {requirement} does not allow")
    for name, version in sorted(pins.items()):
        try:
            Version(version)
        except InvalidVersion:
            lines.append(f"{name} is pinned to {version}, which is no version")
    for name, version in sorted((installed or {}).items()):
        if name in pins and pins[name] != version:
            lines.append(f"{name} is pinned to {pins[name]}, but {version} is installed")
    return lines


def installed_versions() -> dict[str, str]:
    """What this Python has."""
    return {
        canonicalize_name(found.metadata["Name"]): found.version
        for found in importlib.metadata.distributions()
        if found.metadata["Name"]
    }


def closure(wanted: list[Requirement], installed: dict[str, str]) -> dict[str, str]:
    """What is installed of the requirements and of all that they need here."""
    pins: dict[str, str] = {}
    left = [(one, frozenset(one.extras)) for one in wanted]
    while left:
        requirement, extras = left.pop()
        name = canonicalize_name(requirement.name)
        if name in pins or name not in installed:
            continue
        pins[name] = installed[name]
        for text in importlib.metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                left.append((needed, frozenset(needed.extras)))
    return dict(sorted(pins.items()))


def main(arguments: list[str] | None = None) -> int:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--installed", action="store_true", help="compare with what is installed too")
    parser.add_argument("--write", action="store_true", help="pin what is installed")
    options = parser.parse_args(arguments)
    if options.write:
        pins = closure(requirements(), installed_versions())
        PINS.write_text(_HEAD + "".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
    found = differences(read_pins(), requirements(), installed_versions() if options.installed else None)
    print("\n".join(found) or f"{PINS.name}: every pin fits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
