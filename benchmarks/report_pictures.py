"""Pictures of the report for the documentation: ``python -m benchmarks.report_pictures FOLDER [PICTURES]``.

FOLDER keeps the simulated survey and its mosaics, so that the pictures can be made again in seconds; PICTURES is
``docs/images`` if left out.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

from benchmarks import chromium

LARGEST_BYTES = 300_000
# File name, mode of the run, width of the window, dark, the part of the page that is shown, and where the mouse is.
PICTURES = (
    ("report-top.png", "grid", 1000, False, ("header", "#mosaic"), "svg[data-sky=picture]"),
    ("report-seams.png", "classic", 1000, True, ("#seams > .pair", "#seams > figure.chart"), ""),
    ("report-subs.png", "grid", 1000, False, ("#subs h2", "#subs > figure.chart:nth-of-type(3)"), ""),
)
# The names of folders of whoever makes the pictures are nobody else's business.
_HIDE_FOLDERS = (
    "document.querySelectorAll('header code').forEach((one) => one.textContent = one.textContent.split('/').pop())"
)
_MIDDLE = (
    "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
    " return [box.left + 0.6 * box.width, box.top + 0.6 * box.height]"
)


def zemosaic(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "zemosaic_app.cli", *words], check=True)


def runs(folder: Path) -> None:
    """A small survey and its mosaics of both modes, as far as they are not there; their reports anew."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "survey").is_dir():
        zemosaic("simulate", str(folder / "survey"), "--preset", "small")
    for mode in ("grid", "classic"):
        if (folder / mode / "mosaic_grid.fits").is_file():
            zemosaic("report", str(folder / mode))
        else:
            zemosaic(mode, str(folder / "survey"), str(folder / mode))


def picture(page: Path, width: int, dark: bool, parts: tuple[str, str], mouse: str) -> bytes:
    """PNG of a page from the top of one element to the bottom of another, with the mouse on a third."""
    with chromium.browser(width, 1000, dark=dark) as driver:
        chromium.open_page(driver, page)
        driver.execute_script(_HIDE_FOLDERS)
        driver.set_window_size(width, driver.execute_script("return document.documentElement.scrollHeight") + 200)
        top, bottom = driver.execute_script(
            "return [document.querySelector(arguments[0]).getBoundingClientRect().top,"
            " document.querySelector(arguments[1]).getBoundingClientRect().bottom]",
            *parts,
        )
        if mouse:
            at = driver.execute_script(_MIDDLE, mouse)
            driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": at[0], "y": at[1]})
        whole = Image.open(io.BytesIO(driver.get_screenshot_as_png()))
    part = whole.crop((0, max(0, int(top) - 10), whole.width, int(bottom) + 10)).convert("RGB")
    data = _png(part)
    return data if len(data) <= LARGEST_BYTES else _png(part.quantize(256))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", type=Path, nargs="?", default=Path("docs/images"))
    args = parser.parse_args()
    if chromium.missing():
        sys.exit(chromium.missing())
    runs(args.folder)
    for name, mode, width, dark, parts, mouse in PICTURES:
        data = picture(args.folder / mode / "report.html", width, dark, parts, mouse)
        if len(data) > LARGEST_BYTES:
            sys.exit(f"{name} has {len(data)} bytes, more than {LARGEST_BYTES}")
        (args.pictures / name).write_bytes(data)
        print(f"{args.pictures / name}: {len(data) // 1000} kB")


if __name__ == "__main__":
    main()
