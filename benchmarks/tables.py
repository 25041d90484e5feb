"""The tables of docs/survey-photometry.md, made from the results of finished runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures import LARGE_SCALE_TERMS
from benchmarks.surveys import SURVEYS

_MOST_MMAG = 10.0
_MOST_PULL = 2.0
_MOST_LIGHT_LOST = 0.01
_MOST_SEAM = 0.05
_MOST_SEAM_REAL = 0.2
_CHI_SQUARE = (0.8, 1.25)

Seeds = Mapping[str, Mapping[str, Any]]


def line(name: str, seed: int, mode: str, found: Mapping[str, Any]) -> str:
    """What is said of a run as soon as it is done."""
    return (
        f"{name}, seed {seed}, {mode}: background {_rms(found['low_frequency']):.2f} ADU, "
        f"regions {_rms(found['region']):.1f} mmag, stars {_rms(found['star']):.1f} mmag, "
        f"colours {_rms(found['colour']):.1f} mmag, seam {found['seam_sigma']:.3f} sigma, {found['seconds']:.0f} s"
    )


def render(results: Mapping[str, Any]) -> str:
    """All tables that the results allow, as Markdown."""
    surveys = {name: results.get("surveys", {}).get(name, {}) for name in SURVEYS}
    surveys = {name: seeds for name, seeds in surveys.items() if seeds}
    parts = []
    if surveys:
        parts += [_background(surveys), _stars(surveys), _colours(surveys), _gains(surveys), _errors(surveys)]
        parts += [_large_scale(surveys), _extended(surveys), _seams(surveys)]
    if "real" in results:
        parts.append(_real(results["real"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def renew(document: Path, text: str) -> None:
    """Put the tables between their marks in a document."""
    renew_between(document, text, "tables")


def renew_between(document: Path, text: str, name: str) -> None:
    """Put a text between the marks ``name: begin`` and ``name: end`` of a document."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = document.read_text(encoding="utf-8")
    before, rest = old.split(begin, 1)
    _, after = rest.split(end, 1)
    temporary = document.with_suffix(".new")
    temporary.write_text(f"{before}{begin}\n{text}\n{made_with()}\n{end}{after}", encoding="utf-8")
    os.replace(temporary, document)


# --------------------------------------------------------------------------------------------
# the tables


def made_with() -> str:
    """A line that names the commit whose program made a table, and says if files were changed since."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=10", "HEAD")
    if not commit:
        return "Made with a copy of the program that is in no repository."
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return f"Made with commit `{commit}`{', with changes' if changed else ''}."


def _background(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        limit = SURVEYS[name].low_frequency_ratio
        ratio, worst = _ratio(seeds, "low_frequency")
        cells = [_mean(seeds, mode, "low_frequency", ".2f") for mode in ("survey", "tiles", "oracle")]
        noise = _mean(seeds, "oracle", "block_noise", ".2f")
        rows.append(
            [
                name,
                *cells,
                noise,
                f"{ratio:.2f} ({worst:.2f})",
                f"{limit:g}",
                _verdict(ratio <= limit, np.isfinite(ratio)),
            ]
        )
    head = ["survey", "survey photometry", "tiles", "oracle", "noise of a block", "survey / oracle", "needed", ""]
    return _titled("Background: RMS of 16 px block means against the truth, one free plane (ADU)", head, rows)


def _stars(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        limit = SURVEYS[name].region_ratio
        row = [name]
        good = True
        for key in ("region", "star"):
            ratio, worst = _ratio(seeds, key)
            good &= ratio <= limit
            row += [_mean(seeds, mode, key, ".1f") for mode in ("survey", "tiles", "oracle")]
            row.append(f"{ratio:.2f} ({worst:.2f})")
        rows.append([*row, f"{limit:g}", _verdict(good, np.isfinite(ratio))])
    head = ["survey", "regions: survey", "tiles", "oracle", "ratio"]
    head += ["stars: survey", "tiles", "oracle", "ratio", "needed", ""]
    return _titled("Zero point of stars: scatter between 3x3 regions, and star by star (mmag)", head, rows)


def _colours(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        values = [_channelwise(seeds, mode, "colour") for mode in ("survey", "tiles", "oracle", "survey noise")]
        cells = [" ".join(f"{v:.1f}" for v in value) if value.size else "-" for value in values]
        good = values[0].size and float(values[0].max()) <= _MOST_MMAG
        rows.append([name, *cells, f"{_MOST_MMAG:g}", _verdict(bool(good))])
    head = ["survey", "survey photometry", "tiles", "oracle", "noise of the stars", "needed", ""]
    return _titled("Colour of stars: scatter of R/G and of B/G between 3x3 regions (mmag)", head, rows)


def _gains(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        known = [found["agreement"] for found in seeds.values() if "agreement" in found]
        if not known:
            continue
        rms = [np.sqrt(np.nanmean(np.square([a["gain_rms_mmag"][c] for a in known]))) for c in range(3)]
        error = [np.sqrt(np.nanmean(np.square([a["gain_error_mmag"][c] for a in known]))) for c in range(3)]
        share = np.mean([a["rich_share"] for a in known])
        stars = np.median([a["stars"] for a in known])
        cells = [" ".join(f"{v:.1f}" for v in values) for values in (rms, error)]
        good = max(rms) <= _MOST_MMAG
        rows.append([name, *cells, f"{stars:.0f}", f"{100 * share:.0f} %", f"{_MOST_MMAG:g}", _verdict(good)])
    head = ["survey", "RMS error R G B", "predicted R G B", "stars of a sub", "subs with 30 stars", "needed", ""]
    return (
        _titled("Gains of subs that have 30 matched stars against the planted ones (mmag)", head, rows) if rows else ""
    )


_CHI_SQUARES = ("gain", "offset", "slope", "all_gains", "all_offsets", "all_slopes", "all_sky", "everything")


def _errors(surveys: Mapping[str, Seeds]) -> str:
    rows, every = [], []
    for name, seeds in surveys.items():
        known = [found["agreement"] for found in seeds.values() if "agreement" in found]
        if known:
            rows.append(_row_of_errors(name, known))
            every += known
    if len(rows) > 1:
        rows.append(_row_of_errors("all of them", every))
    head = ["survey", "gains", "offsets", "slopes", "gains, correlations in it", "offsets", "slopes"]
    head += ["skies and pattern", "all together", ""]
    title = (
        f"Chi-square per degree of freedom of (true - measured) / error (needed {_CHI_SQUARE[0]} to {_CHI_SQUARE[1]})"
    )
    return _titled(title, head, rows) if rows else ""


def _row_of_errors(name: str, known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Means over the runs, and whether those that the covariance is judged by are as they should be."""
    means = {}
    for key in _CHI_SQUARES:
        values = [np.nanmean(a["chi_square"][key]) for a in known if key in a["chi_square"]]
        means[key] = np.mean(values) if values else np.nan
    cells = [f"{value:.2f}" if np.isfinite(value) else "-" for value in means.values()]
    good = all(_CHI_SQUARE[0] <= means[key] <= _CHI_SQUARE[1] for key in ("all_gains", "all_sky"))
    return [name, *cells, _verdict(good)]


def _large_scale(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        for mode in ("survey", "oracle"):
            found = [np.abs(s[mode]["large_scale"]) for s in seeds.values() if mode in s]
            if not found:
                continue
            rms = np.sqrt(np.mean(np.square(found), axis=(0, 2)))
            row = [name, mode, *(f"{v:.2f}" for v in rms)]
            predicted = [s["agreement"].get("large_scale_error") for s in seeds.values() if "agreement" in s]
            if mode == "survey" and predicted and all(p is not None for p in predicted):
                usual = np.sqrt(np.mean(np.square(predicted), axis=(0, 2)))
                pulls = np.array(found) / np.array(predicted)
                row += [" ".join(f"{v:.2f}" for v in usual), f"{pulls.max():.1f}", f"{np.mean(pulls**2):.2f}"]
                row += [f"{np.mean(pulls > 2.0) * 100:.0f} %", _verdict(bool(np.all(rms < _MOST_PULL * usual)))]
            else:
                row += [""] * 5
            rows.append(row)
    head = ["survey", "mode", *LARGE_SCALE_TERMS, "predicted", "largest pull", "chi-square", "beyond 2 sigma", ""]
    return _titled("Planes and bowls left in the background, RMS over channels and seeds (ADU)", head, rows)


def _extended(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        light = {mode: np.array(_each(seeds, mode, "extended")) for mode in ("survey", "tiles", "oracle")}
        cells = [" ".join(f"{v:.4f}" for v in np.mean(v, axis=0)) if v.size else "-" for v in light.values()]
        if light["survey"].shape != light["oracle"].shape:
            continue
        # The oracle shows what measuring stars and resampling do to the ratio.
        away = float(np.abs(light["survey"] / light["oracle"] - 1.0).max())
        bright = SURVEYS[name].spec.nebula == "full-field"
        rows.append(
            [name, *cells, f"{100 * away:.2f} %", "1 %" if bright else "", _verdict(away < _MOST_LIGHT_LOST, bright)]
        )
    head = ["survey", "survey photometry", "tiles", "oracle", "largest difference from the oracle", "needed", ""]
    return _titled("Flux of extended light over that of stars, as shares of the truth (R G B)", head, rows)


def _seams(surveys: Mapping[str, Seeds]) -> str:
    rows = []
    for name, seeds in surveys.items():
        values = [_mean(seeds, mode, "seam_sigma", ".4f") for mode in ("survey", "tiles", "oracle")]
        seam = [s["survey"]["seam_sigma"] for s in seeds.values() if "survey" in s]
        steps = [max(s["agreement"]["sub_steps"]) for s in seeds.values() if s.get("agreement", {}).get("sub_steps")]
        verdict = _verdict(bool(seam) and max([*seam, *steps]) < _MOST_SEAM)
        values.insert(0, f"{np.mean(steps):.3f}" if steps else "-")
        rows.append([name, *values, f"{_MOST_SEAM:g}", verdict])
    head = ["survey", "between subs", "between tiles: survey", "tiles", "oracle", "needed", ""]
    return _titled("Median seam step after all scaling (sigma of the sky noise a pixel)", head, rows)


def _real(real: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for name, found in real.items():
        keys = ("between subs", "survey before", "survey", "tiles before", "tiles")
        cells = [f"{found[key]:.3f}" if key in found else "-" for key in keys]
        good = max(found["survey"], found.get("between subs", 0.0)) < _MOST_SEAM_REAL
        rows.append([name, *cells, f"{_MOST_SEAM_REAL:g}", _verdict(good)])
    head = ["data", "between subs", "between tiles: survey, before tile scaling", "after"]
    head += ["tiles: before", "after", "needed", ""]
    return _titled("Median seam step on real data (sigma of the sky)", head, rows)


# --------------------------------------------------------------------------------------------
# small things


def _titled(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"**{title}**", "", _row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _verdict(good: bool, known: bool | np.bool_ = True) -> str:
    if not known:
        return ""
    return "met" if good else "**missed**"


def _rms(values: Any) -> float:
    return float(np.sqrt(np.nanmean(np.square(np.asarray(values, dtype=float)))))


def _each(seeds: Seeds, mode: str, key: str) -> list[Any]:
    return [found[mode][key] for found in seeds.values() if mode in found]


def _mean(seeds: Seeds, mode: str, key: str, form: str) -> str:
    values = _each(seeds, mode, key)
    return format(_rms(values), form) if values else "-"


def _channelwise(seeds: Seeds, mode: str, key: str) -> np.ndarray[Any, Any]:
    mode, _, suffix = mode.partition(" ")
    values = _each(seeds, mode, f"{key}_{suffix}" if suffix else key)
    return np.sqrt(np.nanmean(np.square(values), axis=0)) if values else np.zeros(0)


def _ratio(seeds: Seeds, key: str, of: Callable[[Any], float] = _rms) -> tuple[float, float]:
    """RMS over seeds and channels over the oracle's, and the largest ratio of any seed."""
    both = [(s["survey"][key], s["oracle"][key]) for s in seeds.values() if "survey" in s and "oracle" in s]
    if not both:
        return float("nan"), float("nan")
    mine, best = zip(*both, strict=True)
    return of(mine) / of(best), max(of(a) / of(b) for a, b in both)
