"""How a run came out, in one sentence with its figure: what the log, the report and the windows say first."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..sentences import Sentence, say

#: Steps across the edges of footprints, in sigma of the noise of a pixel, from which they are faint and visible. The
#: eye averages along an edge: it sees one of a third of the noise, and none of a tenth.
FAINT_SIGMA, VISIBLE_SIGMA = 0.3, 1.0
_MOST_NAMED = 2
#: Words of a reason, in its order of trial, and what people call it.
_CAUSES: tuple[tuple[str, Sentence], ...] = (
    ("clouds|sky noise|number of stars|its sky fits", say("clouds or a bright sky")),
    ("its FWHM", say("blurred stars")),
    ("no plate solution", say("not plate-solved")),
    ("plate solution|agree with those of the subs|contradict", say("a wrong position")),
    ("calibration", say("no matching calibration frames")),
    ("damaged|truncated|cannot be read|no image|decoder|not there", say("damaged files")),
    ("black|saturated|no valid pixel|one value", say("no picture in them")),
    ("pixels are|pixel scale|most subs are|far more than", say("another camera or format")),
)


#: What stands among the subs and never was one.
_NO_SUB = re.compile("it is (a text file|a folder), whatever|a link to a folder|a pipe or a device")


def verdict(report: Mapping[str, Any]) -> Sentence:
    """Return how even a mosaic is and what was left out of it.

    Parameters
    ----------
    report : mapping
        A run report (``run_report.json``, or `RunReport` as a mapping) of a run that is done.
    """
    return say("{steps}; {left}", steps=_steps(report.get("metrics", {})), left=_left_out(report))


def is_good(report: Mapping[str, Any]) -> bool:
    """True if no step can be seen and at most a tenth of the subs were left out."""
    aside, used = len(_reasons(report)), len(report.get("subs_used", ()))
    return is_even(report) and 9 * aside <= used and not report.get("tiles_left_out")


def is_even(report: Mapping[str, Any]) -> bool:
    """True if no step can be seen where footprints end, for all that is known."""
    metrics = report.get("metrics", {})
    judged = _judged(metrics)
    return not _has_steps(metrics) if judged is None else judged[1] < FAINT_SIGMA


def _has_steps(metrics: Mapping[str, Any]) -> bool:
    """True if steps were measured in ADU."""
    worst = _largest(metrics, "worst_footprint_step_adu_after_")
    return worst is not None and worst[1] > 0


def _judged(metrics: Mapping[str, Any]) -> tuple[str, float] | None:
    """Channel and size of the step that the mosaic has for certain; None if none was measured.

    A version that did not tell what is certain told the median.
    """
    certain = _largest(metrics, "certain_footprint_step_sigma_after_")
    return certain if certain is not None else _largest(metrics, "footprint_step_sigma_after_")


def _steps(metrics: Mapping[str, Any]) -> Sentence:
    judged, median = _judged(metrics), _largest(metrics, "footprint_step_sigma_after_")
    if judged is None or median is None:
        return _steps_in_adu(metrics)
    channel, size = judged
    if size < FAINT_SIGMA:
        return say("no visible step (median {sigma:.2f} sigma of the noise of a pixel)", sigma=median[1])
    ra, dec = (metrics.get(f"certain_footprint_step_{name}_after_{channel}") for name in ("ra", "dec"))
    what = say("a visible step") if size >= VISIBLE_SIGMA else say("a faint step")
    if ra is None or dec is None:
        return say("{what} of at least {sigma:.1f} sigma of the noise of a pixel", what=what, sigma=size)
    return say(
        "{what} of at least {sigma:.1f} sigma of the noise of a pixel at RA {ra:.3f} Dec {dec:+.3f}",
        what=what,
        sigma=size,
        ra=ra,
        dec=dec,
    )


def _steps_in_adu(metrics: Mapping[str, Any]) -> Sentence:
    """The steps of a mosaic whose noise is not known, so that nobody can say whether they are seen."""
    median, worst = (_largest(metrics, f"{kind}footprint_step_adu_after_") for kind in ("", "worst_"))
    if median is None or worst is None:
        return say("no step to measure: no footprint ends inside the mosaic")
    return say(
        "steps of {adu:.3g} ADU in the median and {worst:.3g} ADU at most; the noise of a pixel is not known",
        adu=median[1],
        worst=worst[1],
    )


def _largest(metrics: Mapping[str, Any], name: str) -> tuple[str, float] | None:
    """Channel and value of the largest of the figures of one name; None if there is none."""
    known = {
        key.removeprefix(name): float(value)
        for key, value in metrics.items()
        if key.startswith(name) and isinstance(value, int | float) and math.isfinite(value)
    }
    return max(known.items(), key=lambda item: item[1]) if known else None


def _left_out(report: Mapping[str, Any]) -> Sentence:
    reasons = _reasons(report)
    others = len(report.get("subs_set_aside", ())) - len(reasons)
    used, tiles = len(report.get("subs_used", ())), len(report.get("tiles_left_out", ()))
    if reasons:
        left = say("1 sub left out: {why}", why=causes(reasons))
        if len(reasons) > 1:
            left = say("{n} subs left out: {why}", n=len(reasons), why=causes(reasons))
    else:
        left = say("all {n} subs are in it", n=used) if used > 1 else say("nothing was left out")
    if others == 1:
        left = say("{left}; 1 other file is no sub", left=left)
    elif others:
        left = say("{left}; {n} other files are no subs", left=left, n=others)
    if not tiles:
        return left
    return say("{left}; {n} tiles without a valid pixel", left=left, n=tiles)


def _reasons(report: Mapping[str, Any]) -> list[str]:
    """Why subs were set aside, without files that never were subs."""
    reasons = [str(one["reason"]) for one in report.get("subs_set_aside", ())]
    return [reason for reason in reasons if not _NO_SUB.search(reason)]


def causes(reasons: Sequence[str]) -> Sentence:
    """Return in short why subs were set aside, the most frequent cause first.

    Parameters
    ----------
    reasons : sequence of str
        The engine's own sentences, in English.
    """
    counted = Counter(cause_of(reason) for reason in reasons).most_common()
    named = [cause for cause, _ in counted[:_MOST_NAMED]]
    if len(named) == 1:
        return named[0]
    rest = len(counted) - len(named)
    if rest:
        return say("{first}, {second} and other reasons", first=named[0], second=named[1])
    return say("{first} and {second}", first=named[0], second=named[1])


def cause_of(reason: str) -> Sentence:
    """Return the cause of one reason in short."""
    for words, cause in _CAUSES:
        if re.search(words, reason, re.IGNORECASE):
            return cause
    return say("see the list")
