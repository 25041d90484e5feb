"""Options of the command line that are made from the settings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import Any

from zemosaic_engine.settings import SettingField, setting_fields

GROUP_TITLES = {
    "input": "input",
    "calibration": "calibration frames",
    "canvas": "canvas and grid",
    "stacking": "stacking",
    "photometry": "photometry",
    "classic": "classic flow",
    "output": "output",
    "machine": "machine",
}


def add_setting_options(parser: argparse.ArgumentParser, without: str = "", only: Collection[str] = ()) -> None:
    """An option for each setting but those of the group `without`, or for the settings `only`."""
    groups: dict[str, Any] = {}
    for field in (field for field in setting_fields() if field.group != without and (not only or field.name in only)):
        if field.group not in groups:
            groups[field.group] = parser.add_argument_group(GROUP_TITLES[field.group])
        options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS, "help": _option_help(field)}
        if field.kind == "bool":
            options["action"] = argparse.BooleanOptionalAction
        elif field.kind == "choice":
            options["metavar"] = "{" + ",".join(field.choices) + "}"
        elif field.kind == "pair":
            options |= {"nargs": 2, "metavar": ("LOW", "HIGH")}
        else:
            options["metavar"] = {"int": "N", "float": "X", "text": "TEXT"}[field.kind]
        option = groups[field.group].add_argument(field.option, **options)
        if field.kind == "choice":
            option.completer = lambda choices=field.choices, **_: choices


def _option_help(field: SettingField) -> str:
    default = field.default
    if field.kind == "bool":
        default = "on" if default else "off"
    elif field.kind == "pair":
        default = " ".join(f"{value:g}" for value in default)
    elif field.kind == "float":
        default = f"{default:g}"
    elif default == "":
        default = "empty"
    facts = [field.unit, field.limits, f"default {default}"]
    return f"{field.help} [{'; '.join(fact for fact in facts if fact)}]".replace("%", "%%")


def gigabytes(text: str) -> float:
    """A size as people write it, in GB."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(GB|G|MB|M)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 2GB or 1500MB")
    return float(match[1]) / (1000.0 if (match[2] or "G").upper().startswith("M") else 1.0)
