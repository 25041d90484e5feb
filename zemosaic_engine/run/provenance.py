"""Provenance for FITS headers and the log: subs, settings, versions, memory."""

from __future__ import annotations

import math
import platform
import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from astropy.io import fits

from .. import __version__
from ..clock import RunClock
from ..geometry import Box
from ..machine import memory
from ..machine.versions import library_versions
from ..settings import GridSettings, setting_fields
from ..subs.frames import SubInfo


def versions_text() -> str:
    """One line: this program, Python, the libraries and the system."""
    libraries = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    return f"ZeMosaic {__version__} ({libraries}; {platform.system()} {platform.machine()})"


def settings_lines(settings: GridSettings, *, only_changed: bool = False, of_result: bool = False) -> list[str]:
    """Each setting as ``name = value unit``, in the order of declaration.

    Parameters
    ----------
    settings : GridSettings
        The settings of the run.
    only_changed : bool
        Leave out what has its default.
    of_result : bool
        Leave out what no pixel depends on, such as the number of threads.
    """
    lines = []
    for field in setting_fields():
        value = getattr(settings, field.name)
        if (only_changed and value == field.default) or (of_result and field.stage == "none"):
            continue
        shown = value if value != "" else "(empty)"
        lines.append(f"{field.name} = {shown} {field.unit}".rstrip())
    return lines


def peak_memory_text() -> str:
    """Peak memory of this process so far, in words for the log."""
    return f"Peak memory: {memory.peak_rss_bytes() / 1e9:.2f} GB"


def cost_lines(clock: RunClock) -> list[str]:
    """Time of each phase and of the whole run, and the peak memory, for the end of a log."""
    seconds = max(clock.elapsed_s, 1e-9)
    lines = [
        f"Time of phase {phase.name}: {phase.seconds:.1f} s ({100.0 * phase.seconds / seconds:.0f} %)"
        for phase in clock.phase_times()
    ]
    return [*lines, f"Time of the run: {seconds:.1f} s", peak_memory_text()]


def mosaic_cards(
    infos: Sequence[SubInfo],
    settings: GridSettings,
    *,
    tiles: int,
    ready_made_tiles: bool = False,
    pixel_scale_arcsec: float = math.nan,
) -> fits.Header:
    """Return header cards that describe how a mosaic was made.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs that went into the mosaic (not those set aside).
    settings : GridSettings
        The settings of the run; each that a pixel depends on becomes a HISTORY card.
    tiles : int
        Number of tiles in the mosaic.
    ready_made_tiles : bool
        True if `infos` are images taken as tiles instead of subs.
    pixel_scale_arcsec : float
        Of the mosaic: XPIXSZ and YPIXSZ are the pixels that a camera would have at its focal length.

    Returns
    -------
    astropy.io.fits.Header
        Cards without WCS and structure: OBJECT, TELESCOP, INSTRUME, FOCALLEN, XPIXSZ, YPIXSZ, FILTER, EXPTIME,
        XPOSURE and LIVETIME (total, seconds), NCOMBINE, STACKCNT, DATE-OBS, DATE-BEG, DATE-AVG, DATE-END, TIMESYS,
        ROWORDER, SITELAT and SITELONG if the settings ask for them, BUNIT, CREATOR, PROGRAM, HISTORY.
        A card whose value no sub tells is absent. None tells when the file was written, so that the same
        run gives the same bytes.

    Notes
    -----
    Keywords of FITS Standard 4.0, section 9 (DATE-BEG, DATE-AVG, DATE-END, XPOSURE, TIMESYS) and the conventions of
    IRAF (NCOMBINE), HEASARC (CREATOR), MaxIm DL (FOCALLEN, XPIXSZ, SITELAT) and Siril (STACKCNT, LIVETIME, ROWORDER,
    PROGRAM). DATE-OBS is the start of the first sub.
    """
    header = fits.Header()
    reference = "sub" if settings.photometry == "survey" and not ready_made_tiles else "tile"
    header["BUNIT"] = ("adu", f"of a sub, on the scale of the reference {reference}")
    header.update(observation_cards(infos, ready_made_tiles=ready_made_tiles))
    header["NTILES"] = (tiles, "number of tiles in the mosaic")
    _add_optics(header, infos, pixel_scale_arcsec)
    if settings.site_cards == "rounded":
        _add_site(header, infos)
    _add_creator(header)
    header.add_history(_ascii(versions_text()))
    for line in settings_lines(settings, of_result=True):
        header.add_history("setting " + _ascii(line))
    return header


def observation_cards(infos: Sequence[SubInfo], *, ready_made_tiles: bool = False) -> fits.Header:
    """Header cards of what was observed, when, how long and with what, as `mosaic_cards` describes them."""
    header = fits.Header()
    targets = Counter(info.origin.target for info in infos if info.origin.target)
    if targets:
        header["OBJECT"] = (_ascii(targets.most_common(1)[0][0])[:60], "of most subs")
    for keyword, values, comment in (
        ("TELESCOP", [info.origin.telescope for info in infos], "telescope"),
        ("INSTRUME", [info.origin.instrument for info in infos], "camera"),
        ("FILTER", [info.filter for info in infos], "filter"),
    ):
        names = [_ascii(name) for name in dict.fromkeys(values) if name]
        if names:
            header[keyword] = (", ".join(names)[:40], comment)
    _add_exposures(header, infos)
    what = "tiles given" if ready_made_tiles else "subs in the mosaic"
    header["NCOMBINE"] = (len(infos), f"number of {what}")
    header["STACKCNT"] = (len(infos), f"number of {what}")
    _add_dates(header, infos)
    header["ROWORDER"] = ("BOTTOM-UP", "the first row is the lowest")
    return header


def tile_cards(
    inner: Box,
    outer: Box,
    *,
    source: str = "",
    infos: Sequence[SubInfo] = (),
    pixel_scale_arcsec: float = math.nan,
) -> fits.Header:
    """Header cards of a tile on disk.

    Parameters
    ----------
    inner, outer : Box
        Its boxes on the canvas; half-open, 0-based. For a ready-made tile, on itself.
    source : str
        Name of the file that a ready-made tile came from.
    infos : sequence of SubInfo
        The subs that are in it.
    pixel_scale_arcsec : float
        Of the tile, as for `mosaic_cards`.
    """
    header = fits.Header()
    header["BUNIT"] = ("adu", "before the scaling to the reference tile")
    if infos:
        header.update(observation_cards(infos, ready_made_tiles=bool(source)))
        _add_optics(header, infos, pixel_scale_arcsec)
    for keyword, box, words in (("INNER", inner, "owned pixels"), ("OUTER", outer, "with overlap")):
        for side, value in zip(("Y0", "Y1", "X0", "X1"), box, strict=True):
            header[keyword + side] = (value, f"box on the canvas, {words}")
    if source:
        header["SOURCE"] = (_ascii(source)[:60], "")
        told = [info.origin.zero_point for info in infos if info.origin.zero_point is not None]
        if told:
            header["MAGZP"] = (told[0].magnitude, f"[mag] zero point, {told[0].keyword} of the file given")
    _add_creator(header)
    return header


def _add_optics(header: fits.Header, infos: Sequence[SubInfo], pixel_scale_arcsec: float) -> None:
    """Focal length and the size of a pixel of the mosaic, which together give its scale."""
    lengths = [info.origin.focal_length_mm for info in infos if math.isfinite(info.origin.focal_length_mm)]
    if not lengths:
        return
    focal_length = statistics.median(lengths)
    header["FOCALLEN"] = (round(focal_length, 3), "[mm] focal length, median of the subs")
    if math.isfinite(pixel_scale_arcsec):
        size = 1e3 * focal_length * math.tan(math.radians(pixel_scale_arcsec / 3600.0))
        for axis in "XY":
            header[f"{axis}PIXSZ"] = (round(size, 5), "[um] pixel of the mosaic at this focal length")
            header[f"{axis}BINNING"] = (1, "")


def _add_site(header: fits.Header, infos: Sequence[SubInfo]) -> None:
    """Where the telescope stood, to a tenth of a degree (some 10 km)."""
    known = [info.origin for info in infos if math.isfinite(info.origin.latitude_deg + info.origin.longitude_deg)]
    if known:
        header["SITELAT"] = (round(known[0].latitude_deg, 1), "[deg] rounded")
        header["SITELONG"] = (round(known[0].longitude_deg, 1), "[deg] rounded, east positive")


def _add_creator(header: fits.Header) -> None:
    header["CREATOR"] = (f"ZeMosaic {__version__}", "program that wrote this file")
    header["PROGRAM"] = (f"ZeMosaic {__version__}", "program that wrote this file")


def _add_exposures(header: fits.Header, infos: Sequence[SubInfo]) -> None:
    exposures = [info.exposure_s for info in infos if math.isfinite(info.exposure_s)]
    if not exposures:
        return
    unknown = len(infos) - len(exposures)
    note = f", {unknown} unknown left out" if unknown else ""
    total = round(math.fsum(exposures), 6)
    header["EXPTIME"] = (total, f"[s] total of all subs{note}")
    header["XPOSURE"] = (total, f"[s] total of all subs{note}")
    header["LIVETIME"] = (total, f"[s] total of all subs{note}")
    header["SUBEXP"] = (round(statistics.median(exposures), 6), "[s] median exposure of a sub")


def _add_dates(header: fits.Header, infos: Sequence[SubInfo]) -> None:
    begins, ends, middles = [], [], []
    for info in infos:
        begin = _parse_date(info.date_obs)
        if begin is None:
            continue
        begins.append(begin)
        exposure_s = info.exposure_s if math.isfinite(info.exposure_s) else 0.0
        ends.append(begin + timedelta(seconds=exposure_s))
        middles.append(timedelta(seconds=exposure_s / 2.0) + (begin - begins[0]))
    if not begins:
        return
    header["DATE-OBS"] = (_date_text(min(begins)), "start of the first sub")
    header["DATE-BEG"] = (_date_text(min(begins)), "start of the first sub")
    mean = begins[0] + sum(middles, timedelta()) / len(middles)
    header["DATE-AVG"] = (_date_text(mean), "mean of the middles of the subs")
    header["DATE-END"] = (_date_text(max(ends)), "end of the last sub")
    header["TIMESYS"] = ("UTC", "time system of the dates")


def _parse_date(text: str) -> datetime | None:
    """Return the time in a header in UTC; None if there is none that can be read."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _date_text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _ascii(text: str) -> str:
    """FITS cards hold printable ASCII only."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)
