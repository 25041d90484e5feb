"""What a run measured of its subs, read from the tables that it left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from astropy.table import Table

from zemosaic_engine.mosaic.files import SUB_PHOTOMETRY_NAME
from zemosaic_engine.names import shown_name
from zemosaic_engine.sentences import from_facts

from .sub_list import ListedSub


def read_measured(output: Path, report: Mapping[str, Any]) -> list[ListedSub]:
    """The subs of a run by the names of their files: what was measured, and why some are not in the mosaic.

    Reads a file: not for the thread of a window.
    """
    reasons = {}
    for one in report.get("subs_set_aside", []):
        reasons[shown_name(PureWindowsPath(str(one["file"])).name)] = from_facts(one.get("message") or one["reason"])
    rows = {name: ListedSub(name, state="set_aside", reason=reason) for name, reason in reasons.items()}
    path = output / SUB_PHOTOMETRY_NAME
    try:
        table = Table.read(path, format="ascii.ecsv") if path.is_file() else Table()
    except (OSError, ValueError):  # it was edited or cut off: the list does without
        table = Table()
    if not {"file", "fwhm", "stars"} <= set(table.colnames):
        return list(rows.values())
    weight, sky = _relative_weight(table), _sky(table)
    for number, name in enumerate(map(str, table["file"])):
        rows[name] = ListedSub(
            name,
            state="set_aside" if name in reasons else "solved",
            reason=reasons.get(name, ""),
            fwhm=float(table["fwhm"][number]),
            stars=float(table["stars"][number]),
            sky=float(sky[number]),
            weight=float(weight[number]),
            is_measured=True,
        )
    return list(rows.values())


def _columns(table: Table, begin: str) -> list[str]:
    return [name for name in table.colnames if name.startswith(begin)]


def _sky(table: Table) -> Any:
    """The sky of the green channel, or of the only one."""
    names = _columns(table, "sky_")
    return np.asarray(table[names[len(names) // 2]], dtype=float) if names else np.full(len(table), math.nan)


def _relative_weight(table: Table) -> Any:
    """Mean weight of the channels over that of the median sub."""
    names = _columns(table, "weight_")
    if not names:
        return np.full(len(table), math.nan)
    weights = np.stack([np.asarray(table[name], dtype=float) for name in names])
    usual = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else math.nan for row in weights])
    return (weights / usual[:, None]).mean(axis=0)
