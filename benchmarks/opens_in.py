"""Opens the files of a run in the programs that people take them to, and writes the table of docs/outputs.md.

``python -m benchmarks.opens_in OUTPUT [--write]`` with the output folder of a finished run: programs that are not
installed are left out of the table. Debian packages: siril, astap-cli, fitsverify, saods9 with xvfb, gimp, chromium
with chromium-driver; Aladin Lite is fetched with npm.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from benchmarks import aladin, chromium
from benchmarks.tables import renew_between

DOCUMENT = Path(__file__).parents[1] / "docs" / "outputs.md"
#: Files of a run by their column; those that a run did not write are left out.
FILES = {
    "mosaic_grid.fits": "mosaic_grid.fits",
    "mosaic.fit": "mosaic.fit",
    "coverage": "mosaic_grid_coverage.fits",
    "viewer": "mosaic_grid_viewer.fits",
    "tile": "tiles/tile_0000.fits",
    "TIFF": "mosaic.tif",
    "16-bit TIFF": "mosaic_16bit.tif",
    "stretched TIFF": "mosaic_stretched.tif",
    "PNG": "mosaic_grid.png",
    "JPEG": "mosaic_grid.jpg",
    "map": "map/index.html",
    "HiPS": "hips/picture/properties",
    "HiPS, FITS": "hips/G/properties",
}
_LIMIT_S = 120


@dataclass(frozen=True)
class Host:
    """A program that files are opened with.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Commands that must be there.
    kinds : tuple of str
        Endings of the files that it is meant to open, or the name of one without an ending.
    open : callable
        ``open(path)`` returns what went wrong, empty if nothing did.
    version : callable
        ``version()``, for the table.
    leaves : tuple of str
        Names of files that hold nothing it could show.
    """

    name: str
    needs: tuple[str, ...]
    kinds: tuple[str, ...]
    open: Callable[[Path], str]
    version: Callable[[], str] = lambda: ""
    leaves: tuple[str, ...] = ()

    def takes(self, path: Path) -> bool:
        """True if the program is meant to open a file."""
        return (path.suffix or path.name) in self.kinds and path.name not in self.leaves

    @property
    def missing(self) -> str:
        """The first command that is not installed; empty if all are."""
        return next((command for command in self.needs if shutil.which(command) is None), "")


def _run(command: Sequence[str], folder: str | Path | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, cwd=folder, check=False
    )
    return done.stdout + done.stderr


def _package(name: str) -> Callable[[], str]:
    """The version of a Debian package, without what Debian adds to it."""

    def version() -> str:
        if shutil.which("dpkg-query") is None:
            return ""
        found = _run(["dpkg-query", "-W", "-f", "${Version}", name])
        return re.sub(r"[-+].*", "", found.split(":")[-1].strip()) if "no packages" not in found else ""

    return version


# --- the programs


def header_faults(header: fits.Header) -> list[str]:
    """What programs ask of a header with a plate solution and do not find.

    The first two are what the existing ZeMosaic's ``validate_wcs_header`` refuses a file for.
    """
    faults = [
        f"no {key}{axis}" for key in ("CTYPE", "CRVAL", "CRPIX") for axis in (1, 2) if f"{key}{axis}" not in header
    ]
    matrices = [[f"{name}{i}_{j}" for i in (1, 2) for j in (1, 2)] for name in ("PC", "CD")]
    if not any(all(keyword in header for keyword in matrix) for matrix in matrices):
        faults.append("neither PC nor CD")
    if "BAYERPAT" in header:
        faults.append("BAYERPAT: it would be demosaiced again")
    if header.get("ROWORDER", "BOTTOM-UP") != "BOTTOM-UP":
        faults.append("ROWORDER is not how the rows are stored")
    if "FOCALLEN" in header and "XPIXSZ" in header:
        told = np.degrees(np.arctan(1e-3 * header["XPIXSZ"] / header["FOCALLEN"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scale = float(np.sqrt(abs(np.linalg.det(WCS(header, naxis=2).pixel_scale_matrix))))
        if abs(told / scale - 1.0) > 1e-3:
            faults.append(f"FOCALLEN and XPIXSZ give {3600 * told:.4f} arcsec a pixel, the WCS {3600 * scale:.4f}")
    return faults


def _zemosaic(path: Path) -> str:
    return "; ".join(header_faults(fits.getheader(path)))


def _astropy(path: Path) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            for hdu in hdus:
                if hdu.data is None or not WCS(hdu.header, naxis=2).has_celestial:
                    return f"HDU {hdu.name} has no picture with a WCS"
    return "; ".join(str(warning.message) for warning in caught)


def _fitsverify(path: Path) -> str:
    found = _run(["fitsverify", "-q", str(path)])
    return "" if "verification OK" in found and "warnings" not in found else found.strip()


def siril(path: Path, *commands: str) -> str:
    """What Siril says to a script that loads a file and then does the commands."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "open.ssf"
        script.write_text("\n".join(["requires 1.0.0", f"load {path}", *commands, ""]))
        return _run(["siril-cli", "-d", folder, "-s", str(script)], folder)


def _siril(path: Path) -> str:
    found = siril(path, "stat", "asinh 200", "savetif stretched")
    if "finished successfully" not in found:
        return next((line for line in found.splitlines() if "failed" in line or "Error" in line), "the script failed")
    if "Mean: nan" in found:
        return "opens; statistics are NaN where the image has NaN"
    return ""


ASTAP_FLOAT = "this version reads no TIFF of floating point"


def _astap(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.symlink_to(path.resolve())
        found = _run(["astap_cli", "-f", str(copy), "-analyse", "20"], folder)
    if "accessing the file" in found and path.suffix == ".tif":
        return ASTAP_FLOAT
    stars = re.search(r"STARS=(\d+)", found)
    return "" if stars and int(stars[1]) > 0 else "no star was found"


def _ds9(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "ds9.png"
        _run(["xvfb-run", "-a", "ds9", str(path), "-zscale", "-export", "png", str(picture), "-exit"])
        return "" if picture.is_file() and _has_contrast(picture) else "no picture"


def _gimp(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "gimp.png"
        script = (
            f'(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "{path}" "in"))))'
            f" (gimp-file-save RUN-NONINTERACTIVE image (car (gimp-image-get-active-drawable image))"
            f' "{picture}" "out"))'
        )
        _run(["gimp", "-i", "-d", "-f", "-b", script, "-b", "(gimp-quit 0)"])
        return "" if picture.is_file() and _has_contrast(picture) else "no picture"


def _has_contrast(picture: Path) -> bool:
    from PIL import Image

    with Image.open(picture) as image:
        return float(np.asarray(image.convert("RGB"), dtype=np.float64).std()) > 0.0


def _pillow(path: Path) -> str:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as image:
        image.load()
        return "" if "icc_profile" in image.info else "no colour profile"


def _chromium(path: Path) -> str:
    """What the map shows in a browser that opens it from the disk."""
    shown = "return [...document.querySelectorAll('svg[data-sky=map] image')].length"
    with chromium.browser() as driver:
        chromium.open_page(driver, path)
        end = time.monotonic() + _LIMIT_S
        while not driver.execute_script(shown) and time.monotonic() < end:
            time.sleep(0.2)
        said = [entry["message"] for entry in driver.get_log("browser")]
        return said[0] if said else "" if driver.execute_script(shown) else "no tile"


HOSTS = (
    Host("the existing ZeMosaic's header check", (), (".fits", ".fit"), _zemosaic),
    Host("astropy", (), (".fits", ".fit"), _astropy, lambda: _module_version("astropy")),
    Host("fitsverify", ("fitsverify",), (".fits", ".fit"), _fitsverify, _package("fitsverify")),
    Host("Siril", ("siril-cli",), (".fits", ".fit", ".tif", ".png", ".jpg"), _siril, _package("siril")),
    Host(
        "ASTAP (command line)",
        ("astap_cli",),
        (".fits", ".fit", ".tif"),
        _astap,
        _package("astap-cli"),
        ("mosaic_grid_coverage.fits",),
    ),
    Host("DS9", ("ds9", "xvfb-run"), (".fits", ".fit"), _ds9, _package("saods9")),
    Host("GIMP", ("gimp",), (".fits", ".fit", ".tif", ".png", ".jpg"), _gimp, _package("gimp")),
    Host("Chromium", ("chromium", "chromedriver"), (".html",), _chromium, _package("chromium")),
    Host("Aladin Lite", ("npm", "chromium", "chromedriver"), ("properties",), aladin.fault_of, aladin.version),
    Host("Pillow", (), (".png", ".jpg"), _pillow, lambda: _module_version("pillow")),
)


def _module_version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


# --- the table


def table(output: Path) -> str:
    """The table "opens in" of the files of a run, as Markdown."""
    files = {column: output / name for column, name in FILES.items() if (output / name).is_file()}
    notes: list[str] = []
    lines = ["| | " + " | ".join(files) + " |", "|---" * (len(files) + 1) + "|"]
    for host in HOSTS:
        if host.missing:
            print(f"{host.name}: {host.missing} is not installed", file=sys.stderr)
            continue
        cells = []
        for path in files.values():
            fault = host.open(path) if host.takes(path) else None
            print(f"{host.name}, {path.name}: {'-' if fault is None else fault or 'opens'}", file=sys.stderr)
            cells.append("-" if fault is None else _cell(fault, notes))
        lines.append(f"| {host.name} {host.version()}".rstrip() + " | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{number + 1}. {note}" for number, note in enumerate(notes))]).rstrip() + "\n"


def _cell(fault: str, notes: list[str]) -> str:
    if not fault:
        return "yes"
    if fault not in notes:
        notes.append(fault)
    return f"{'yes' if fault.startswith('opens') else 'no'} ({notes.index(fault) + 1})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Open the files of a run in other programs.")
    parser.add_argument("output", type=Path, help="output folder of a finished run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/outputs.md")
    args = parser.parse_args()
    made = table(args.output.resolve())
    print(made)
    if args.write:
        renew_between(DOCUMENT, made, "opens in")


if __name__ == "__main__":
    main()
