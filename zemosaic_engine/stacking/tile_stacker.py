"""One tile after another: its subs become a stack, made neutral, on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..canvas.footprints import Footprint
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..channels import channel_names
from ..errors import SubError
from ..events import CancelToken, Steps, Teller
from ..geometry import Box, without
from ..kernels.cuda import Gpu
from ..machine import memory
from ..photometry.neutral import equalize_rgb_medians_inplace
from ..run.request import GridRequest
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.loader import SubLoader
from ..subs.parts import SubParts
from ..survey.calibrate import Survey
from ..survey.sky_map import SkyMap
from ..tiles.store import TileShelf
from ..tiles.tile import TilePixels
from .blocks import BlockStacker
from .combine import Stack, combine, normalise
from .drizzle import gap_shares
from .whole_tiles import gather

_SOME_GAPS = 1e-3


def stacks_blocks(request: GridRequest, layouts: Sequence[TileLayout]) -> bool:
    """True if tiles can be stacked block by block: cells of the canvas, subs that are calibrated one by one."""
    calibrated = request.settings.photometry == "survey" or request.calibrations is not None
    return calibrated and all(layout.grid is None for layout in layouts)


class TileStacker:
    """Stacks the tiles of a run.

    Subs that are calibrated one by one are stacked block by block; where an earlier tile holds the
    same pixels already they are taken from its file, bit by bit what would be computed again. All other
    subs are resampled onto the whole tile first, because its own levels are measured there.

    Parameters
    ----------
    request : GridRequest
    canvas : CanvasPlan
    footprints : sequence of Footprint
        Of the subs.
    loader : SubLoader
        Whole subs.
    survey : Survey
        Their calibrations.
    gpu : Gpu or None
        The device that resamples and stacks; None for the CPU.
    by_blocks : bool
        What `stacks_blocks` says.
    sample_bytes : int
        Samples held in memory at once.
    steps : Steps
        Counts each sub of each tile.
    tell : Teller
    cancel : CancelToken
    """

    def __init__(
        self,
        request: GridRequest,
        canvas: CanvasPlan,
        footprints: Sequence[Footprint],
        loader: SubLoader,
        survey: Survey,
        gpu: Gpu | None,
        by_blocks: bool,
        sample_bytes: int,
        steps: Steps,
        tell: Teller,
        cancel: CancelToken,
    ) -> None:
        self._request, self._canvas, self._footprints = request, canvas, footprints
        self._loader, self._survey, self._gpu = loader, survey, gpu
        self._steps, self._tell, self._cancel = steps, tell, cancel
        self._store = memory.SampleStore(sample_bytes, request.output)
        self._parts = SubParts(
            request.infos, loader.hot_pixels, request.output, loader.rules, request.checkpoints.subs.is_same
        )
        # Rejection among few samples needs the sky; whole tiles measure their own.
        self._sky = survey.sky if by_blocks else None
        calibrations = {n: c for n, c in enumerate(survey.calibrations) if c is not None}
        self._blocks = BlockStacker(
            request.infos, footprints, canvas, self._parts, calibrations, request.settings, sample_bytes
        )

    def __enter__(self) -> TileStacker:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()
        self._parts.close()

    @property
    def failures(self) -> Mapping[int, SubError]:
        """Subs that could not be used, by number."""
        return {**self._loader.failures, **self._parts.failures}

    def stack(self, layout: TileLayout, earlier: TileShelf) -> tuple[TilePixels | None, list[int]]:
        """Stack one tile and make its colours neutral.

        Parameters
        ----------
        layout : TileLayout
        earlier : TileShelf
            The tiles that were stacked before.

        Returns
        -------
        content : TilePixels or None
            None without a valid pixel.
        numbers : list of int
            The subs that are in it.
        """
        if self._sky is not None:
            stack, numbers = self._stack_blocks(layout, earlier, self._sky)
        else:
            stack, numbers = self._stack_whole(layout)
        if stack is None:
            return None, []
        return TilePixels(stack.pixels, stack.weight, stack.coverage), list(numbers)

    def _stack_whole(self, layout: TileLayout) -> tuple[Stack | None, Sequence[int]]:
        """All samples of the tile at once, measured and brought to one level among themselves."""
        request, survey, settings = self._request, self._survey, self._request.settings
        samples, facts, numbers = gather(
            layout, request.infos, self._footprints, self._canvas, self._loader, self._store, settings, survey,
            self._steps, self._cancel, self._gpu,
        )  # fmt: skip
        if not numbers:
            return None, []
        if survey.calibrated:  # the samples are on one scale since they were resampled
            settings = settings.model_copy(update={"stack_norm_method": "none"})
        scales = normalise(samples, facts, settings, self._cancel)
        stack = combine(samples, facts, scales, settings, device=self._gpu, cancel=self._cancel)
        self._tell.log(_stack_line(layout, numbers, request.infos, stack, survey))
        if settings.resample_kernel == "drizzle":
            _tell_gaps(layout.name, stack, settings, self._tell)
        _equalise(layout.name, stack, settings, survey, self._tell)
        return stack, numbers

    def _stack_blocks(self, layout: TileLayout, earlier: TileShelf, sky: SkyMap) -> tuple[Stack | None, Sequence[int]]:
        """What no earlier tile holds is stacked, the rest is read from its file."""
        survey, before = self._survey, set(self._parts.failures)
        owners = earlier.with_content()
        fresh, held = without(layout.outer, [other.outer for other in owners])
        readable = [number for number in layout.subs if number not in self._loader.failures]
        subs = self._blocks.prepare(readable, self._cancel)
        stack, used = self._blocks.stack(layout.outer, fresh, subs, sky, self._cancel)
        for number in set(self._parts.failures) - before:
            self._tell.set_aside(self._parts.failures[number])
        for _ in layout.subs:
            self._steps.one()
        if used:
            numbers = [number for number in layout.subs if number in used]
            self._tell.log(_stack_line(layout, numbers, self._request.infos, stack, survey))
            _equalise(layout.name, stack, self._request.settings, survey, self._tell)
        for part, owner in held:
            used |= self._copy(layout, stack, part, owners[owner], earlier)
        if used and self._request.settings.resample_kernel == "drizzle":
            _tell_gaps(layout.name, stack, self._request.settings, self._tell)
        return (stack if used else None), [number for number in layout.subs if number in used]

    def _copy(self, layout: TileLayout, stack: Stack, part: Box, other: TileLayout, earlier: TileShelf) -> set[int]:
        """Take a part of the tile from the file of another, and tell whose light it may hold."""
        content = earlier.read_part(other, part)
        where = part.relative_to(layout.outer).slices
        stack.pixels[where], stack.weight[where] = content.pixels, content.weight
        stack.coverage[where] = content.coverage
        if not content.coverage.any():
            return set()
        members = earlier.members(other)
        return {number for number in layout.subs if number in members and self._footprints[number].meets(part)}


def _stack_line(
    layout: TileLayout, numbers: Sequence[int], infos: Sequence[SubInfo], stack: Stack, survey: Survey
) -> str:
    """What is told of a stacked tile."""
    scales = None if survey.calibrated else stack.scales
    anchor = "the run" if scales is None else infos[numbers[scales.anchor]].path.name
    line = (
        f"[GRID] {layout.name}: {len(numbers)} subs, {stack.rejected_pct:.2f} % of samples rejected, scale of {anchor}"
    )
    if scales is not None and scales.islands > 1:
        line += f"; its subs form {scales.islands} groups without common sky"
    return line


def _equalise(name: str, stack: Stack, settings: GridSettings, survey: Survey, tell: Teller) -> None:
    """RGB median equalisation of a stacked tile, once; its weights follow its gains.

    Tiles that share one scale share one equalisation too, or their colours would part again.
    """
    if stack.pixels.shape[2] != 3:
        tell.log(f"[GRID] {name}: RGB equalisation skipped, the tile is mono")
        return
    if not settings.grid_rgb_equalize:
        tell.log(f"[GRID] {name}: RGB equalisation switched off")
        return
    if survey.calibrated:
        gains, level = survey.neutral(stack)
        stack.pixels[...] *= np.array(gains, dtype=np.float32)
    else:
        *gains, level = equalize_rgb_medians_inplace(stack.pixels, stack.coverage)
    stack.weight[...] /= np.square(np.array(gains, dtype=np.float32))
    red, green, blue = gains
    tell.log(f"[GRID] {name}: RGB equalisation gains {red:.4f} {green:.4f} {blue:.4f}, background {level:.2f} ADU")


def _tell_gaps(name: str, stack: Stack, settings: GridSettings, tell: Teller) -> None:
    """Warn of a tile where drops left gaps."""
    gaps = gap_shares(stack.coverage)
    if gaps.max() > _SOME_GAPS:
        named = ", ".join(f"{c} {100 * gap:.1f} %" for c, gap in zip(channel_names(gaps.size), gaps, strict=True))
        tell.log(
            f"[GRID] {name}: drizzle left pixels without a sample ({named}): the subs are too few for drizzle_pixfrac "
            f"{settings.drizzle_pixfrac:g} on this canvas; raise it or pixel_scale_arcsec, or add subs",
            "WARN",
        )
