"""The result of a run, from its ``run_report.json``, and the files that can be opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from zemosaic_app.report import PAGE_NAME
from zemosaic_engine.canvas.advice import Advice, exposure_text
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.regular_files import MOST_TABLE_BYTES, read_file
from zemosaic_engine.resume.run_folder import STATE_NAME
from zemosaic_engine.run.report import REPORT_NAME
from zemosaic_engine.run.verdict import is_even, verdict
from zemosaic_engine.run.verdict import is_good as is_good  # for the windows
from zemosaic_engine.sentences import from_facts, say

from .sky_map import advice_texts
from .texts import Texts

# In ADU or in sigma: a smaller step is in no picture.
_LEAST_STEP = 0.01
# Panels that are named; the report has all.
_MOST_NEEDS = 6


@dataclass(frozen=True)
class Seam:
    """Steps over the overlaps of one channel, in ADU and in sigma of the sky noise; "-" where none was measured."""

    channel: str
    before_adu: str
    before_sigma: str
    after_adu: str
    after_sigma: str
    worst_sigma: str


def read_report(output: Path) -> dict[str, Any]:
    """The report of the last run with this output; empty if there is none that can be read."""
    try:
        told = json.loads(read_file(output / REPORT_NAME, MOST_TABLE_BYTES).decode("ascii"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def result_path(output: Path, report: Mapping[str, Any], what: str) -> Path | None:
    """Return the path of the ``mosaic``, ``picture``, ``folder`` or ``report`` of a run; None if it does not exist.

    A folder may have been moved since: its files are found where it is now.
    """
    if what == "folder":
        return output if output.is_dir() else None
    if what == "report":
        page = output / PAGE_NAME
        path = page if page.is_file() else output / REPORT_NAME
    else:
        path = output / PureWindowsPath(report.get("files", {}).get(what, "")).name  # parts at / and at \
    return path if path.is_file() else None


def can_go_on(output: Path) -> bool:
    """True if an earlier run with this output did not finish and left results that can be reused."""
    return (output / STATE_NAME).is_dir() and read_report(output).get("outcome") in ("running", "failed", "cancelled")


def seams(report: Mapping[str, Any], texts: Texts) -> list[Seam]:
    """The seam figures of each channel."""
    metrics = report.get("metrics", {})
    channels = [name.rsplit("_", 1)[1] for name in metrics if name.startswith("seam_step_adu_after_")]

    def figure(name: str, channel: str) -> str:
        return _step_text(metrics.get(f"{name}_{channel}"), texts)

    return [
        Seam(
            texts.channel(channel),
            figure("seam_step_adu_before", channel),
            figure("seam_step_sigma_before", channel),
            figure("seam_step_adu_after", channel),
            figure("seam_step_sigma_after", channel),
            figure("worst_seam_sigma_after", channel),
        )
        for channel in channels
    ]


def _step_text(value: float | None, texts: Texts) -> str:
    """Return the size of a step with two or three digits; an invisible one as "less than"."""
    if value is None:
        return "-"
    if value < _LEAST_STEP:
        return texts.decimal(f"< {_LEAST_STEP:g}")
    return texts.decimal(f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}")


def was_scaled(report: Mapping[str, Any]) -> bool:
    """False if tiles were joined as they were stacked: each figure of the seams is the same before and after."""
    metrics = report.get("metrics", {})
    after = [name for name in metrics if "_after_" in name and "seam" in name]
    return any(metrics[name] != metrics.get(name.replace("_after_", "_before_")) for name in after)


def seams_title(report: Mapping[str, Any], texts: Texts) -> str:
    """Return the title of the table of seams."""
    title = texts("summary.seams")
    return title if was_scaled(report) else f"{title}. {texts('summary.unscaled')}"


def heading(report: Mapping[str, Any], texts: Texts) -> str:
    """Return what the mosaic shows; the name of its folder if no object there has a name."""
    for figure in report.get("figures", ()):
        message = figure.get("message")
        if figure.get("figure") == "Field" and isinstance(message, Mapping):
            return str(message.get("fields", {}).get("name") or "")
    return PureWindowsPath(report.get("output") or "").name if report else ""


def exposure(report: Mapping[str, Any], texts: Texts) -> str:
    """Return how many subs the mosaic has and how long they were exposed; empty without a report."""
    used, seconds = len(report.get("subs_used", ())), float(report.get("exposure_s") or 0.0)
    if not used:
        return ""
    if not seconds:
        return texts.counted("summary.some_subs", used)
    return texts.counted("summary.exposure", used, time=texts.sentence(exposure_text(seconds)))


def verdict_text(report: Mapping[str, Any], texts: Texts) -> str:
    """Return how the mosaic came out in one sentence; empty if there is none."""
    if report.get("outcome") != "done":
        return ""
    text = texts.sentence(verdict(report))
    return f"{text[:1].upper()}{text[1:]}."


def rejects(report: Mapping[str, Any], texts: Texts) -> list[list[str]]:
    """Name and reason of each sub that is not in the mosaic."""
    return [
        [
            PureWindowsPath(str(one.get("file", ""))).name,
            texts.sentence(from_facts(one.get("message") or one.get("reason", ""))),
        ]
        for one in report.get("subs_set_aside", ())
    ]


def points(lines: Sequence[str]) -> str:
    """Return lines as a list with a dot before each."""
    return "\n".join(f"\u2022 {line}" for line in lines)


def file_lines(output: Path, report: Mapping[str, Any], texts: Texts) -> list[str]:
    """Return the files that people want, with what each is for."""
    kinds = ("processing", "mosaic", "picture", "map", "rejected")
    wanted = [kind for kind in (*kinds, "report") if kind != "rejected" or report.get("subs_set_aside")]
    found = [(kind, result_path(output, report, kind)) for kind in wanted]
    return [texts.listed_text(path.name, texts(f"file.{kind}")) for kind, path in found if path is not None]


def next_steps(output: Path, report: Mapping[str, Any], texts: Texts) -> list[str]:
    """Return what a person may do now, one sentence each."""
    if report.get("outcome") != "done":
        return []
    steps = [texts("next.process")] if result_path(output, report, "processing") is not None else []
    steps += [line.rstrip(" :") + "." for line in needs(report, texts)[:1] if line.endswith(":")]
    if report.get("subs_set_aside"):
        steps.append(texts("next.aside"))
    if not is_even(report):
        steps.append(texts("next.edges"))
    return steps


def facts(report: Mapping[str, Any], texts: Texts) -> list[tuple[str, str]]:
    """Names and values of what people ask first."""
    if not report:
        return []
    aside, left_out = report.get("subs_set_aside", []), report.get("tiles_left_out", [])
    return [
        *([(texts("summary.size"), size)] if (size := _size(report, texts)) else []),
        (texts("summary.time"), texts.duration(float(report.get("seconds") or 0.0))),
        (texts("summary.subs"), str(len(report.get("subs_used", [])))),
        *([(texts("summary.set_aside"), str(len(aside)))] if aside else []),
        (texts("summary.tiles"), str(len(report.get("tiles", [])))),
        *([(texts("summary.left_out"), ", ".join(left_out))] if left_out else []),
        (texts("summary.memory"), texts.size(float(report.get("peak_memory_bytes") or 0.0))),
        *([(texts("summary.depth"), "\n".join(needed))] if (needed := needs(report, texts)) else []),
    ]


def fact_lines(report: Mapping[str, Any], texts: Texts) -> str:
    """Return the facts as lines of text."""
    return "\n".join(texts.listed_text(name, value) for name, value in facts(report, texts))


def _size(report: Mapping[str, Any], texts: Texts) -> str:
    """Return how large the field is; empty if the report does not say."""
    for figure in report.get("figures", ()):
        message = figure.get("message")
        if figure.get("figure") == "Field" and isinstance(message, Mapping):
            size = message.get("fields", {}).get("size")
            return texts.sentence(from_facts(size)) if size else ""
    return ""


def needs(report: Mapping[str, Any], texts: Texts) -> list[str]:
    """What the mosaic still needs for an even depth; nothing where the report does not tell."""
    try:
        advice = Advice.of_facts(report.get("advice") or {})
    except ValueError:  # of finished tiles, or of an earlier version
        return []
    is_one_panel = len(advice.panels) == 1 and not advice.needy  # its depth is the exposure, which is told
    return [] if is_one_panel else advice_texts(advice, texts, _MOST_NEEDS)


def open_with_system(path: Path) -> None:
    """Open a file or a folder with the program that the system has for it."""
    if not path.exists():
        raise SettingsError(say("{path} is not there.", path=path))
    if sys.platform == "win32":
        os.startfile(path)
        return
    command = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        subprocess.Popen([command, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise SettingsError(
            say("{path} cannot be opened: {command} is not there.", path=path, command=command)
        ) from error
