"""What can be set, declared once: type, unit, range, default and one sentence each.

The command line, settings files, logs and (later) windows are made from this model; each
stage is handed the settings and never looks for them itself.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


def _setting(default: Any, help_text: str, *, group: str, unit: str = "", advanced: bool = False, **limits: Any) -> Any:
    return Field(
        default,
        description=help_text,
        json_schema_extra={"group": group, "unit": unit, "advanced": advanced},
        **limits,
    )


class GridSettings(BaseModel):
    """Settings of a Grid Mode run. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # --- input
    filter: str = _setting("", "Use only the rows of the stack plan with this filter; empty means all rows must share one.", group="input")
    saturation_adu: float = _setting(0.0, "Pixels at or above this value are saturated and left out; 0 takes it from the header or the data type.", group="input", unit="ADU", ge=0.0, advanced=True)
    hot_pixels: Literal["auto", "off"] = _setting("auto", "Find hot pixels that stay on the sensor while the sky moves, and leave them out.", group="input", advanced=True)
    max_gap_fov: float = _setting(3.0, "A sub farther than this from every other group of subs is taken for a wrong plate solution and set aside.", group="input", unit="fields of view", gt=0.0, advanced=True)

    # --- canvas and grid
    pixel_scale_arcsec: float = _setting(0.0, "Pixel scale of the mosaic; 0 takes the median of the subs.", group="canvas", unit="arcsec/pixel", ge=0.0)
    grid_size_factor: float = _setting(1.0, "Size of a tile in fields of view of one sub.", group="canvas", unit="fields of view", gt=0.05, le=10.0)
    batch_overlap_pct: float = _setting(20.0, "Overlap of neighbouring tiles, in percent of a tile.", group="canvas", unit="%", ge=1.0, le=90.0)
    max_canvas_mpx: float = _setting(1000.0, "A canvas larger than this stops the run before memory is asked for.", group="canvas", unit="megapixels", gt=0.0)

    # --- stacking
    stack_norm_method: Literal["none", "median", "linear_fit"] = _setting("linear_fit", "How the subs of a tile are brought to one level: not at all, by their sky level, or by sky level and star brightness.", group="stacking")
    stack_weight_method: Literal["none", "noise_variance"] = _setting("noise_variance", "Weight of a sub: equal, or the inverse variance of its sky noise.", group="stacking")
    stack_reject_algo: Literal["none", "kappa_sigma", "winsorized_sigma_clip"] = _setting("winsorized_sigma_clip", "How trails, cosmic rays and hot pixels are found among the samples of a pixel.", group="stacking")
    stack_kappa_low: float = _setting(3.5, "Samples this many sigma below the others are left out.", group="stacking", unit="sigma", gt=0.0)
    stack_kappa_high: float = _setting(3.0, "Samples this many sigma above the others are left out.", group="stacking", unit="sigma", gt=0.0)
    winsor_limits: tuple[float, float] = _setting((0.05, 0.05), "Share of the lowest and highest samples pulled in for the first estimate of sigma in winsorised clipping.", group="stacking", unit="fraction", advanced=True)
    stack_final_combine: Literal["mean", "median"] = _setting("mean", "How the samples that remain become one pixel.", group="stacking")
    resample_kernel: Literal["nearest", "bilinear", "cubic", "lanczos3"] = _setting("lanczos3", "Interpolation that brings a sub onto the canvas.", group="stacking", advanced=True)
    edge_feather_px: float = _setting(32.0, "The weight of a sub falls to its edge over this distance, so that small differences in sky make no line.", group="stacking", unit="pixels", ge=0.0, advanced=True)
    apply_radial_weight: bool = _setting(False, "Lower the weight of a sub away from its centre.", group="stacking", advanced=True)
    radial_feather_fraction: float = _setting(0.8, "Radius at which the radial weight begins to fall, as a share of the half diagonal.", group="stacking", unit="fraction", gt=0.0, le=1.0, advanced=True)
    radial_shape_power: float = _setting(2.0, "Steepness of the radial weight.", group="stacking", gt=0.0, advanced=True)

    # --- photometry
    grid_rgb_equalize: bool = _setting(True, "Bring the background of each stacked colour tile to a neutral grey before tiles are matched.", group="photometry")
    photometry: Literal["tiles", "none"] = _setting("tiles", "Bring the tiles to one photometric scale by what is measured where they overlap, or leave them as they are.", group="photometry")

    # --- output
    save_final_as_uint16: bool = _setting(False, "Also write mosaic_grid_viewer.fits, a 16-bit copy for simple viewers.", group="output")
    legacy_rgb_cube: bool = _setting(False, "Write the viewer file with the colour axis last in memory order (H, W, 3), as older programs expect.", group="output", advanced=True)
    preview_max_px: int = _setting(4096, "Longest side of the PNG preview.", group="output", unit="pixels", ge=64)

    # --- machine
    device: Literal["auto", "cpu", "cuda"] = _setting("auto", "Where the stacking is computed.", group="machine")
    threads: int = _setting(0, "Threads used; 0 takes all cores.", group="machine", ge=0)
    memory_gb: float = _setting(0.0, "Memory for subs and samples held at once; 0 takes half of what is free. Beyond it, scratch files in the output folder are used. The result does not depend on it.", group="machine", unit="GB", ge=0.0)

    @model_validator(mode="after")
    def _winsor_limits_leave_samples(self) -> GridSettings:
        low, high = self.winsor_limits
        if not (0.0 <= low < 0.5 and 0.0 <= high < 0.5):
            raise ValueError("winsor_limits are two fractions, each at least 0 and below 0.5")
        return self
