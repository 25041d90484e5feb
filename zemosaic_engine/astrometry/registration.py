"""What the registration of a run found, by sub, as figures and columns of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..subs.frames import SubInfo
from .results import AstrometricSolution
from .sub_frames import FloatArray


@dataclass(frozen=True)
class Registration:
    """Where the stars of a run put its subs.

    Attributes
    ----------
    subs : sequence of SubInfo
        All that were looked at, also those that were set aside for it, each where it lies now.
    solution : AstrometricSolution
        Of these, in this order.
    """

    subs: Sequence[SubInfo]
    solution: AstrometricSolution

    def metrics(self) -> dict[str, float]:
        """Figures of the whole, by name."""
        solution = self.solution
        return {
            "registration_before_px": rms(solution.before_px),
            "registration_after_px": rms(solution.after_px),
            "registration_worst_px": float(np.nanmax(solution.after_px)),
            "registration_tied": float(solution.tied.sum()),
            "registration_catalogue_stars": float(solution.catalogue_stars),
        }

    def columns(self) -> Mapping[str, Sequence[object]]:
        """What ``subs.ecsv`` says of the registration, by column."""
        solution = self.solution
        figures = {
            "registration_before": solution.before_px,
            "registration_after": solution.after_px,
            "registration_error": solution.error_px,
            "moved": solution.moved_px,
        }
        return {
            "tied": solution.tied.tolist(),
            "star_group": solution.group.tolist(),
            "stars_found": solution.stars.tolist(),
            "stars_tied": solution.matched.tolist(),
            **{name: np.round(values, 4).tolist() for name, values in figures.items()},
        }


def rms(values: FloatArray) -> float:
    """Root mean square of the values that are known."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")
