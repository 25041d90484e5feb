"""Log lines about a stacked tile."""

from __future__ import annotations

from collections.abc import Sequence

from ..canvas.tile_layout import TileLayout
from ..channels import channel_names
from ..resampling.drizzle import gap_shares
from ..run.run import Run
from ..sentences import say
from ..settings import GridSettings
from .combine import Stack

_SOME_GAPS = 1e-3


def report_stack(
    run: Run, tile: TileLayout, numbers: Sequence[int], stack: Stack, *, on_run_scale: bool = True
) -> None:
    """Log how many subs are in a tile, what was rejected, and whose scale it has."""
    scales = None if on_run_scale else stack.scales
    anchor = say("the run") if scales is None else run.subs[numbers[scales.anchor]].path.name
    islands = say("")
    if scales is not None and scales.islands > 1:
        islands = say("; its subs form {n} groups without common sky", n=scales.islands)
    run.reporter.log(
        say(
            "{name}: {subs} subs, {rejected:.2f} % of samples rejected, scale of {anchor}{why}",
            name=tile.name,
            subs=len(numbers),
            rejected=stack.rejected_pct,
            anchor=anchor,
            why=islands,
        )
    )


def report_gaps(run: Run, name: str, stack: Stack) -> None:
    """Warn of a tile where drizzle left pixels without a sample."""
    gaps = gap_shares(stack.coverage)
    if gaps.max() > _SOME_GAPS:
        named = ", ".join(f"{c} {100 * gap:.1f} %" for c, gap in zip(channel_names(gaps.size), gaps, strict=True))
        run.reporter.log(
            say(
                "{name}: drizzle left pixels without a sample ({named}): the subs are too few for "
                "drizzle_pixfrac {drizzle_pixfrac:g} on this canvas; raise {settings}, or add subs",
                name=name,
                named=named,
                drizzle_pixfrac=run.settings.drizzle_pixfrac,
                settings=fewer_gaps_with(run.settings),
            ),
            "WARN",
        )


def fewer_gaps_with(settings: GridSettings) -> str:
    """Return the settings that fill more pixels if they are raised."""
    if settings.drizzle_pixfrac < 1.0:
        return say("drizzle_pixfrac or pixel_scale_arcsec")
    return "pixel_scale_arcsec"
