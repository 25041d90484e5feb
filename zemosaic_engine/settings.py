"""The settings, declared once: type, unit, range, default and one sentence each.

The command line, settings files, logs and (later) windows are made from this model; each
stage is handed the settings and never looks for them itself. `setting_fields` lists the
settings for whoever builds an option or a form from them; `load_settings_file` and
`build_settings` turn what a person wrote into a `GridSettings` or a `SettingsError` of one sentence.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import SettingsError
from .regular_files import MOST_TEXT_BYTES, read_file
from .sentences import joined, say

Kind = Literal["bool", "int", "float", "text", "choice", "pair"]


#: The first stage of a run whose results depend on a setting. "plan": it acts through the list of subs and the
#: canvas alone; "none": no pixel and no table depends on it.
Stage = Literal["plan", "measure", "solve", "stack", "join", "none"]


#: Formats that the setting `outputs` may name.
OUTPUT_FORMATS = ("fits", "tiff", "tiff16", "tiff_stretched", "jpeg", "hips", "map")


def _words(text: str) -> list[str]:
    """Words that people separate by commas, semicolons or blanks, in small letters."""
    return [word for word in re.split(r"[,;\s]+", text.lower()) if word]


def _setting(
    default: Any,
    help_text: str,
    *,
    group: str,
    unit: str = "",
    advanced: bool = False,
    simple: bool = False,
    stage: Stage = "measure",
    **limits: Any,
) -> Any:
    return Field(
        default,
        description=help_text,
        json_schema_extra={"group": group, "unit": unit, "advanced": advanced, "simple": simple, "stage": stage},
        **limits,
    )


class GridSettings(BaseModel):
    """Settings of a Grid Mode run. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # --- input
    filter: str = _setting(
        "",
        "Use only subs taken with this filter; empty requires that all subs share one.",
        group="input",
        simple=True,
        stage="plan",
    )
    recursive: bool = _setting(
        True,
        "Look for subs in the sub-folders of the input folder too.",
        group="input",
        stage="plan",
    )
    plate_solve: Literal["missing", "all", "off"] = _setting(
        "missing",
        "Which subs to plate-solve by their stars: those without a solution, all of them, or none.",
        group="input",
        simple=True,
        stage="plan",
    )
    star_catalogue_dir: str = _setting(
        "",
        "Folder with a deeper star catalogue for plate solving (ASTAP, Siril's local Gaia, or tables); empty "
        "searches the usual places.",
        group="input",
        stage="plan",
        advanced=True,
    )
    saturation_adu: float = _setting(
        0.0,
        "Pixels at or above this value are saturated and left out; 0 uses the header or the data type.",
        group="input",
        unit="ADU",
        ge=0.0,
        advanced=True,
    )
    hot_pixels: Literal["auto", "off"] = _setting(
        "auto",
        "Find hot pixels that stay on the sensor while the sky moves, and leave them out.",
        group="input",
        advanced=True,
    )
    astrometry: Literal["refine", "header"] = _setting(
        "refine",
        "Where subs lie: by their own stars, matched between all subs and solved together, or by their headers alone. "
        "Headers that agree with the stars are kept.",
        group="input",
        stage="plan",
    )
    untied_subs: Literal["judge", "keep", "set_aside"] = _setting(
        "judge",
        "A sub whose stars agree with those of no other sub is set aside, or kept where its header puts it, or kept "
        "only where it shows too few stars to be judged by.",
        group="input",
        stage="plan",
        advanced=True,
    )
    max_gap_fov: float = _setting(
        3.0,
        "A group of subs farther than this from all others has a wrong plate solution and is set aside.",
        group="input",
        stage="plan",
        unit="fields of view",
        gt=0.0,
        advanced=True,
    )

    # --- calibration frames
    calibration: Literal["auto", "require", "off"] = _setting(
        "auto",
        "Darks, flats and biases: used where some match, required of every sub (the run stops if one is missing, "
        "wrong or damaged), or not used.",
        group="calibration",
        simple=True,
        stage="plan",
    )
    darks: str = _setting(
        "",
        "Folder or file with the darks, in place of those found among the subs.",
        group="calibration",
        stage="plan",
    )
    flats: str = _setting(
        "",
        "Folder or file with the flats, in place of those found among the subs.",
        group="calibration",
        stage="plan",
    )
    biases: str = _setting(
        "",
        "Folder or file with the biases, in place of those found among the subs.",
        group="calibration",
        stage="plan",
    )
    dark_flats: str = _setting(
        "",
        "Folder or file with the dark-flats, in place of those found among the subs.",
        group="calibration",
        stage="plan",
    )
    calibration_dir: str = _setting(
        "",
        "Library of calibration frames that serves many runs: what matches the subs is used.",
        group="calibration",
        simple=True,
        stage="plan",
    )
    save_masters: bool = _setting(
        False,
        "Also write the masters made of calibration frames to the folder masters of the output.",
        group="calibration",
        stage="none",
        advanced=True,
    )

    # --- canvas and grid
    pixel_scale_arcsec: float = _setting(
        0.0,
        "Pixel scale of the mosaic; 0 uses the median of the subs.",
        group="canvas",
        simple=True,
        stage="plan",
        unit="arcsec/pixel",
        ge=0.0,
        le=3600.0,
    )
    grid_size_factor: float = _setting(
        1.0,
        "Size of a tile in fields of view of one sub.",
        group="canvas",
        stage="stack",
        unit="fields of view",
        ge=0.1,
        le=10.0,
    )
    batch_overlap_pct: float = _setting(
        20.0,
        "Overlap of neighbouring tiles, in percent of a tile.",
        group="canvas",
        stage="stack",
        unit="%",
        ge=1.0,
        le=90.0,
    )
    max_canvas_mpx: float = _setting(
        1200.0,
        "A larger canvas stops the run before anything is written. A mosaic that memory cannot hold lies in scratch "
        "files in the output folder while it is made: what a canvas needs is room on the disk, about 40 bytes a pixel, "
        "110 in colour.",
        group="canvas",
        stage="plan",
        unit="megapixels",
        gt=0.0,
    )

    # --- stacking
    stack_norm_method: Literal["none", "median", "linear_fit"] = _setting(
        "linear_fit",
        "How the subs of a tile are brought to one level: not at all, by their sky level, or by sky level "
        "and star brightness. Survey photometry does not use it.",
        group="stacking",
        stage="stack",
    )
    stack_weight_method: Literal["none", "noise_variance", "noise_fwhm"] = _setting(
        "noise_variance",
        "Weight of a sub: equal, the inverse variance of its sky noise, or that over the square of the width of its "
        "stars, which gives sharper stars and a little more noise.",
        group="stacking",
        simple=True,
        stage="stack",
    )
    stack_reject_algo: Literal["none", "kappa_sigma", "winsorized_sigma_clip"] = _setting(
        "winsorized_sigma_clip",
        "How trails, cosmic rays and hot pixels are found among the samples of a pixel.",
        group="stacking",
        simple=True,
        stage="stack",
    )
    stack_kappa_low: float = _setting(
        3.5,
        "Samples this many sigma below the others are left out.",
        group="stacking",
        stage="stack",
        unit="sigma",
        gt=0.0,
    )
    stack_kappa_high: float = _setting(
        3.0,
        "Samples this many sigma above the others are left out.",
        group="stacking",
        stage="stack",
        unit="sigma",
        gt=0.0,
    )
    winsor_limits: tuple[float, float] = _setting(
        (0.05, 0.05),
        "Share of the lowest and highest samples pulled in for the first estimate of sigma in winsorised clipping.",
        group="stacking",
        stage="stack",
        unit="fraction",
        advanced=True,
    )
    stack_final_combine: Literal["mean", "median"] = _setting(
        "mean",
        "How the remaining samples become one pixel.",
        group="stacking",
        stage="stack",
    )
    resample_kernel: Literal["auto", "nearest", "bilinear", "cubic", "lanczos3", "drizzle"] = _setting(
        "lanczos3",
        "How a sub is resampled onto the canvas: by interpolation, or by drizzle, which drops the samples of "
        "each colour without demosaicing and needs many dithered subs. auto chooses drizzle where stars are "
        "undersampled and dithered subs are many enough, otherwise lanczos3.",
        group="stacking",
        stage="stack",
        advanced=True,
    )
    drizzle_pixfrac: float = _setting(
        1.0,
        "Side of the drops of drizzle in pixels of a sub: smaller is sharper and needs more subs. "
        "pixel_scale_arcsec gives a finer canvas.",
        group="stacking",
        stage="stack",
        unit="pixels of a sub",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    edge_feather_px: float = _setting(
        32.0,
        "Distance over which the weight of a sub falls to its edge, so that small differences of the sky "
        "leave no line.",
        group="stacking",
        stage="stack",
        unit="pixels",
        ge=0.0,
        le=10000.0,
        advanced=True,
    )
    apply_radial_weight: bool = _setting(
        False,
        "Lower the weight of a sub away from its centre.",
        group="stacking",
        stage="stack",
        advanced=True,
    )
    radial_feather_fraction: float = _setting(
        0.8,
        "Radius at which the radial weight begins to fall, as a share of the half diagonal.",
        group="stacking",
        stage="stack",
        unit="fraction",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    radial_shape_power: float = _setting(
        2.0,
        "Steepness of the radial weight.",
        group="stacking",
        stage="stack",
        gt=0.0,
        advanced=True,
    )

    # --- photometry
    grid_rgb_equalize: bool = _setting(
        True,
        "Bring the background of each stacked colour tile to a neutral grey before tiles are matched.",
        group="photometry",
        stage="stack",
    )
    photometry: Literal["survey", "tiles", "none"] = _setting(
        "survey",
        "How subs come to one photometric scale: each sub before stacking (survey), stacked tiles by their "
        "overlaps (tiles), or not at all (none).",
        group="photometry",
        stage="stack",
    )
    pedestal: str = _setting(
        "auto",
        "Electronic offset of the subs, subtracted before vignetting is divided out: auto determines it from "
        "the subs of a run, a number of ADU is used as it is, 0 is for subs without any.",
        group="photometry",
        stage="solve",
        advanced=True,
    )
    sub_max_deviation: float = _setting(
        8.0,
        "A sub whose noise, star width, number of stars or sky residual is this much worse than its session's is "
        "set aside; 0 uses all.",
        group="photometry",
        stage="solve",
        unit="robust sigma",
        ge=0.0,
        advanced=True,
    )
    reference_catalogue: str = _setting(
        "",
        "File (CSV, FITS or ECSV) of stars with ra, dec and magnitudes, from which zero points are fitted, and with "
        "colours (BP-RP or B-V); or a folder with a star catalogue as star_catalogue_dir takes it. Empty uses Tycho-2, "
        "which ships with the program.",
        group="photometry",
        stage="join",
        advanced=True,
    )
    colour: Literal["auto", "catalogue", "stars", "sky"] = _setting(
        "auto",
        "What makes colours true: colours of stars in the catalogue, the main sequence among the field's stars, "
        "or a sky without colour alone. auto takes the first of these that it can.",
        group="photometry",
        simple=True,
        stage="join",
    )
    white_point: Literal["solar", "spiral"] = _setting(
        "solar",
        "What is white where colours come from stars: a star like the Sun (G2V), or the mean of spiral galaxies.",
        group="photometry",
        stage="join",
        advanced=True,
    )
    colour_passbands: str = _setting(
        "",
        "Passbands of the camera, through which spectra of stars are seen (Siril's spectra of Gaia in the folder "
        "reference_catalogue): nikon_d5100, johnson_cousins, or a CSV file of wavelength_nm, R, G and B.",
        group="photometry",
        stage="join",
        advanced=True,
    )
    tile_gradients: bool = _setting(
        True,
        "Also remove the planes by which the skies of scaled tiles differ where they overlap. Survey "
        "photometry does not use it.",
        group="photometry",
        stage="join",
        advanced=True,
    )

    tile_reprojection: Literal["resampler", "reproject_interp"] = _setting(
        "resampler",
        "How ready-made and master tiles come onto the canvas: by the resampler of the subs, with resample_kernel, or "
        "by reproject_interp, which interpolates linearly and takes longer.",
        group="photometry",
        stage="join",
        advanced=True,
    )

    # --- classic flow
    pointing_radius_fov: float = _setting(
        0.3,
        "Classic flow: subs whose centres lie this near to the middle of a group become one master tile.",
        group="classic",
        stage="plan",
        unit="fields of view",
        gt=0.0,
        le=5.0,
    )
    coverage_renorm: bool = _setting(
        True,
        "Classic flow: remove brightness that follows the blurred coverage, where it is significant.",
        group="classic",
        stage="join",
    )
    coverage_renorm_form: Literal["multiply", "add"] = _setting(
        "multiply",
        "Classic flow: remove it by a factor, which is right for differences of transparency and flats, or by an "
        "offset, which is right for light that was added and keeps the scale of stars.",
        group="classic",
        stage="join",
    )

    # --- output
    outputs: str = _setting(
        "fits",
        "Files made of the mosaic beside mosaic_grid.fits, separated by commas: fits (mosaic.fit, for processing), "
        "tiff (32-bit float), tiff16 (16 bits, linear), tiff_stretched (16 bits, as the picture), jpeg, "
        "hips (for Aladin and other programs), map (the mosaic at full size as a map in a browser).",
        group="output",
        simple=True,
        stage="none",
    )
    crop: Literal["none", "covered", "largest_rectangle"] = _setting(
        "none",
        "The part of the mosaic in mosaic.fit, the file for processing: all, the rectangle around all data, or the "
        "largest rectangle without a corner that no sub covers.",
        group="output",
        simple=True,
        stage="join",
    )
    site_cards: Literal["none", "rounded"] = _setting(
        "none",
        "Position of the telescope in the header of the mosaic: left out, or rounded to a tenth of a degree.",
        group="output",
        stage="join",
        advanced=True,
    )
    rejection_map: bool = _setting(
        False,
        "Keep how many samples of each pixel were rejected, below and above the others: REJLOW and REJHIGH in "
        "mosaic_grid.fits.",
        group="output",
        stage="stack",
    )
    save_final_as_uint16: bool = _setting(
        False,
        "Also write mosaic_grid_viewer.fits, a 16-bit copy for simple viewers.",
        group="output",
        stage="join",
    )
    legacy_rgb_cube: bool = _setting(
        False,
        "Write the viewer file with the colour axis last in memory order (H, W, 3), as older programs expect.",
        group="output",
        stage="join",
        advanced=True,
    )
    preview_max_px: int = _setting(
        4096, "Longest side of the PNG preview.", group="output", simple=True, stage="none", unit="pixels", ge=64
    )

    # --- machine
    device: Literal["auto", "cpu", "cuda"] = _setting(
        "auto", "Where subs are resampled and stacked.", group="machine", simple=True, stage="stack"
    )
    scheduler: str = _setting(
        "",
        "Workers that share the work: the address of a Dask scheduler, or local:N for N processes on this computer; "
        "empty works on the threads of one process.",
        group="machine",
        stage="none",
        advanced=True,
    )
    threads: int = _setting(0, "Number of threads; 0 uses all cores.", group="machine", stage="none", ge=0, le=4096)
    memory_gb: float = _setting(
        0.0,
        "Memory that the run may use at its peak; 0 uses as much as makes it fast, at most about half of "
        "what is free. Mosaics that take more than half of it lie in scratch files in the output folder. The "
        "result does not depend on it.",
        group="machine",
        simple=True,
        stage="none",
        unit="GB",
        ge=0.0,
    )

    @field_validator("pedestal", mode="before")
    @classmethod
    def _pedestal_as_text(cls, value: Any) -> Any:
        return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    @property
    def pedestal_adu(self) -> float:
        """The electronic offset that was given; NaN to find it."""
        return math.nan if self.pedestal == "auto" else float(self.pedestal)

    @model_validator(mode="after")
    def _pedestal_is_a_level(self) -> GridSettings:
        try:
            good = self.pedestal == "auto" or 0.0 <= float(self.pedestal) < math.inf
        except ValueError:
            good = False
        if not good:
            raise ValueError(say("pedestal is auto or a number of ADU, at least 0"))
        return self

    @property
    def output_formats(self) -> list[str]:
        """The formats that `outputs` names, in the order of `OUTPUT_FORMATS`."""
        wanted = _words(self.outputs)
        return [name for name in OUTPUT_FORMATS if name in wanted]

    @model_validator(mode="after")
    def _outputs_are_formats(self) -> GridSettings:
        unknown = [word for word in _words(self.outputs) if word not in OUTPUT_FORMATS]
        if unknown:
            formats = ", ".join(OUTPUT_FORMATS)
            raise ValueError(say("outputs names {name}, which is none of {formats}", name=unknown[0], formats=formats))
        return self

    @model_validator(mode="after")
    def _winsor_limits_leave_samples(self) -> GridSettings:
        low, high = self.winsor_limits
        if not (0.0 <= low < 0.5 and 0.0 <= high < 0.5):
            raise ValueError(say("winsor_limits are two fractions, each at least 0 and below 0.5"))
        return self


@dataclass(frozen=True)
class SettingField:
    """A setting, as the command line and the windows need it.

    Attributes
    ----------
    name : str
        Key in settings files; the option of the command line is the same with dashes.
    kind : str
        ``"bool"``, ``"int"``, ``"float"``, ``"text"``, ``"choice"`` or ``"pair"`` (two floats).
    choices : tuple of str
        Allowed values of a choice, else empty.
    default : object
        Value if nobody sets it.
    unit, help, group : str
        Unit (empty if none), one sentence, and the heading it belongs under.
    advanced : bool
        True if most people never touch it.
    simple : bool
        True if it is one of the few that a first mosaic may ask for.
    stage : str
        The first stage of a run whose results depend on it: ``"plan"`` (through the list of subs and the canvas
        alone), ``"measure"``, ``"solve"``, ``"stack"``, ``"join"``, or ``"none"``.
    at_least, above, at_most, below : float or None
        Limits of a number, None where there is none.
    """

    name: str
    kind: Kind
    choices: tuple[str, ...]
    default: Any
    unit: str
    help: str
    group: str
    advanced: bool
    simple: bool
    stage: Stage
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    @property
    def option(self) -> str:
        """The option of the command line, ``--batch-overlap-pct``."""
        return "--" + self.name.replace("_", "-")

    @property
    def expects(self) -> str:
        """The valid values, in words that complete the sentence "must be ..."."""
        if self.kind == "choice":
            return say("one of {names}", names=", ".join(self.choices))
        noun = _NOUNS.get(self.kind, say("a number"))
        if self.limits and self.unit:
            return say("{noun}, {why} ({unit})", noun=noun, why=self.limits, unit=self.unit)
        if self.limits:
            return say("{noun}, {why}", noun=noun, why=self.limits)
        return say("{noun} ({unit})", noun=noun, unit=self.unit) if self.unit else noun

    @property
    def limits(self) -> str:
        """The range of a number in words, ``at least 0 and at most 1``; empty where there is none."""
        bounds = [
            say(words, n=limit)
            for words, limit in (
                ("at least {n:g}", self.at_least),
                ("above {n:g}", self.above),
                ("at most {n:g}", self.at_most),
                ("below {n:g}", self.below),
            )
            if limit is not None
        ]
        if len(bounds) == 2:
            return say("{why} and {why2}", why=bounds[0], why2=bounds[1])
        return bounds[0] if bounds else ""


_NOUNS = {"bool": say("true or false"), "text": say("text"), "pair": say("two numbers"), "int": say("a whole number")}


def setting_fields() -> list[SettingField]:
    """Every setting of `GridSettings` in the order of declaration."""
    fields = []
    for name, info in GridSettings.model_fields.items():
        extra = info.json_schema_extra
        if not isinstance(extra, dict):
            raise TypeError(f"setting {name} is not declared through _setting")
        kind, choices = _kind_of(info.annotation)
        limits = {
            attribute: getattr(item, short)
            for item in info.metadata
            for short, attribute in (("ge", "at_least"), ("gt", "above"), ("le", "at_most"), ("lt", "below"))
            if hasattr(item, short)
        }
        fields.append(
            SettingField(
                name,
                kind,
                choices,
                info.default,
                str(extra["unit"]),
                info.description or "",
                str(extra["group"]),
                bool(extra["advanced"]),
                bool(extra["simple"]),
                cast(Stage, extra["stage"]),
                **limits,
            )
        )
    return fields


def _kind_of(annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", tuple(get_args(annotation))
    if get_origin(annotation) is tuple:
        return "pair", ()
    kinds: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "text"}
    return kinds[annotation], ()


def load_settings_file(path: str | Path) -> dict[str, Any]:
    """Read the keys of a TOML or JSON settings file; values are checked by `build_settings`.

    Parameters
    ----------
    path : path-like
        File whose name ends in ``.toml`` or ``.json``; keys at the top level, UTF-8.

    Returns
    -------
    dict
        Keys and values as written.

    Raises
    ------
    SettingsError
        The file cannot be read or is not what its name says.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".json"):
        raise SettingsError(say("The settings file {path} must end in .toml or .json.", path=path))
    try:
        text = read_file(path, MOST_TEXT_BYTES).decode("utf-8-sig")
        values = tomllib.loads(text) if suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise SettingsError(
            say("The settings file {path} cannot be read: {why}.", path=path, why=error.strerror or error)
        ) from error
    except RecursionError as error:
        raise SettingsError(
            say("The settings file {path} is nested too deeply: a setting is a plain value.", path=path)
        ) from error
    except ValueError as error:  # of the decoder of UTF-8, TOML or JSON alike
        raise SettingsError(
            say(
                "The settings file {path} is not valid {format}: {error}.",
                path=path,
                format=suffix[1:].upper(),
                error=error,
            )
        ) from error
    if not isinstance(values, dict):
        raise SettingsError(
            say("The settings file {path} must hold an object of keys and values at its top level.", path=path)
        )
    return FileValues(values, text)


class FileValues(dict[str, Any]):
    """The keys and values of a settings file, and where they stand in it."""

    def __init__(self, values: Mapping[str, Any], text: str) -> None:
        super().__init__(values)
        self._text = text

    def place(self, file_name: str, key: str) -> str:
        """Return the file, and the line of a key if it can be found."""
        written = re.compile("\\s*[{,]?\\s*([\"']?)" + re.escape(key) + "\\1\\s*[:=]")
        for number, line in enumerate(self._text.splitlines(), start=1):
            if written.match(line):
                return say("{file}, line {n}", file=file_name, n=number)
        return file_name


def build_settings(
    file_values: Mapping[str, Any] | None = None,
    option_values: Mapping[str, Any] | None = None,
    *,
    file_name: str = "the settings file",
) -> GridSettings:
    """Settings from a file and from options; an option wins over the file, both over the default.

    Parameters
    ----------
    file_values : mapping, optional
        What `load_settings_file` returned.
    option_values : mapping, optional
        Values given on the command line, text or typed, keyed by the setting's name.
    file_name : str
        How messages call the file.

    Returns
    -------
    GridSettings

    Raises
    ------
    SettingsError
        One sentence that names each wrong key or value and what it must be.
    """
    from_file, from_options = dict(file_values or {}), dict(option_values or {})
    try:
        return GridSettings(**{**from_file, **from_options})
    except ValidationError as error:
        fields = {field.name: field for field in setting_fields()}
        problems = []
        for item in error.errors():
            key = str(item["loc"][0]) if item["loc"] else None
            where = (
                file_values.place(file_name, key)
                if isinstance(file_values, FileValues) and key is not None
                else file_name
            )
            problems.append(_problem(key, item, fields.get(key or ""), key in from_options, where))
        # Each half of a wrong pair has an error of its own; one is enough.
        raise SettingsError(joined(dict.fromkeys(problems), end=".")) from error


def _problem(key: str | None, item: Any, field: SettingField | None, is_option: bool, file_name: str) -> str:
    if key is None:  # a rule about settings together, written by this module
        return str(item["ctx"]["error"])
    if field is None and isinstance(item["input"], dict):
        return say(
            "{file} has the section {key!r}, but settings stand at its top level, outside of any section",
            file=file_name,
            key=key[:_SHOWN],
        )
    if field is None:
        known = list(GridSettings.model_fields)
        # Programs and people write the same key with dashes or capitals.
        nearest = difflib.get_close_matches(key[:_SHOWN].lower().replace("-", "_"), known, n=1, cutoff=0.0)[0]
        return say(
            "{file} has the unknown key {key!r} (the nearest valid one is {near!r})",
            file=file_name,
            key=key[:_SHOWN],
            near=nearest,
        )
    value = item["input"]
    must = field.expects
    if field.kind == "choice" and isinstance(value, str):
        close = difflib.get_close_matches(value[:_SHOWN], field.choices, n=1, cutoff=0.4)
        must = say("{why} (did you mean {near}?)", why=must, near=close[0]) if close else must
    if is_option:
        return say("{key} is {value} but must be {why}", key=field.option, value=_shown(value), why=must)
    return say("{key} in {file} is {value} but must be {why}", key=key, file=file_name, value=_shown(value), why=must)


_SHOWN = 60  # characters of a wrong value


def _shown(value: Any) -> str:
    """A wrong value, cut where it is very long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested without end, or a number of thousands of digits
        return "something very long"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
