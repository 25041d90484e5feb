"""Run every command of README and docs on a tiny survey; end with exit code 1 if one fails.

::

    python tools/run_docs.py [WORDS ...]     only the pages whose names contain one of the words

Commands are the lines of fenced ``sh`` blocks, and indented lines that begin with ``python -m benchmarks``. Of the
latter, which take minutes to hours, ``--help`` alone is run. What is not run at all stands in `NOT_RUN`, with the
reason.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: How lines begin that are not run, and why.
NOT_RUN = {
    "python -m build": "a step of .ci/run",
    "python3 -m venv": "it would change what is installed; .ci/run makes such environments",
    "~/zemosaic/bin": "it would change what is installed; .ci/run does the same in another folder",
    "pipx install": "it would change what is installed",
    "uv tool install": "it would change what is installed",
    "sudo apt": "it would change what is installed",
    "python -m pip": "it would change what is installed; .ci/run does it",
    "pip install": "it would change what is installed; .ci/run does it",
    "python -m pytest": "the tests themselves",
    "ZEMOSAIC_DATA=": "needs real subs",
    "ruff": "a step of .ci/run",
    ".ci/run": "runs this",
    "zemosaic gui": "needs a display; tests/gui opens the windows",
    "zemosaic fetch-catalogue": "needs a network",
    "zemosaic grid --reference-catalogue gaia.ecsv": "needs what the network brings",
    "dask": "needs programs that stay at work; tests/survival starts them",
    "zemosaic grid --scheduler": "needs a cluster; tests/survival starts one",
    "zemosaic grid --executor": "needs a cluster; tests/survival starts one",
}
_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs")
_ALLOWED = (0, 3)  # 3: done, but something was set aside


def commands(page: Path) -> list[str]:
    """Return the commands of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = [(block.start(), line) for block in _blocks(text, "sh") for line in block[2].splitlines()]
    found += [(match.start(), match[1]) for match in re.finditer(r"^    (python -m benchmarks\S*)", text, re.MULTILINE)]
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for _, line in sorted(found, key=lambda place: place[0])]
    return [line for line in lines if line]


def _blocks(text: str, language: str) -> Iterator[re.Match[str]]:
    return re.finditer(rf"^```({language})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def why_not(command: str) -> str:
    """Return why a command is not run; empty if it is."""
    return next((reason for start, reason in NOT_RUN.items() if command.startswith(start)), "")


def pages(words: list[str]) -> list[Path]:
    """Return all pages, or those whose names contain one of the words."""
    paths = [ROOT / name for name in _PAGES]
    found = [page for path in paths for page in ([path] if path.is_file() else sorted(path.glob("*.md")))]
    return [page for page in found if not words or any(word in page.name for word in words)]


def prepare(work: Path) -> None:
    """Make what the commands take for granted: subs, tiles, a finished run, two mosaics, calibration frames."""
    from astropy.io import fits

    from zemosaic_engine.simulate.survey import PRESETS, simulate_survey

    simulate_survey(work / "subs", PRESETS["tiny"], seed=1)
    _run("zemosaic grid subs OUTPUT", work)
    (work / "tiles").mkdir()
    for path in sorted((work / "OUTPUT" / "tiles").glob("*.fits")):
        with fits.open(path) as hdus:
            fits.PrimaryHDU(hdus[0].data, hdus[0].header).writeto(work / "tiles" / f"my_{path.name}")
    for name in ("A.fits", "B.fits", "a.fits", "b.fits"):
        shutil.copy(work / "OUTPUT" / "mosaic_grid.fits", work / name)
    frames = {"biases": 3, "darks": 3, "flats": 3, "dark_flats": 3}
    night = PRESETS["uncalibrated"].but(shape=(240, 320), panels=(1, 2), subs_per_panel=4, nights=1, calibration=frames)
    simulate_survey(work / "night", night, seed=1)
    for folder in ("home", "home/library", "frames"):
        (work / folder).mkdir()
    for kind in ("biases", "darks", "flats"):
        for folder in ("home", "home/library", "frames"):
            shutil.copytree(work / "night" / kind, work / folder / kind)
    toml = next(_blocks((ROOT / "README.md").read_text(encoding="utf-8"), "toml"))
    (work / "mosaic.toml").write_text(toml[2], encoding="utf-8")
    (work / "docs").symlink_to(ROOT / "docs")


def _host(work: Path) -> Path:
    """Return the folder of an existing ZeMosaic, as the tests of the patch have it."""
    sys.path.insert(0, str(ROOT / "tests" / "host"))
    from stand_in import make_host  # type: ignore[import-not-found]

    folder: Path = make_host(work / "host")
    return folder


@contextmanager
def _without_plan(work: Path) -> Iterator[None]:
    """Take the stack plan away for a while: a folder with a plan cannot be watched."""
    plan, aside = work / "subs" / "stack_plan.csv", work / "stack_plan.csv"
    if plan.exists():
        plan.rename(aside)
    try:
        yield
    finally:
        if aside.exists():
            aside.rename(plan)


def _run(command: str, work: Path) -> subprocess.CompletedProcess[str]:
    words = [word.replace("~/", f"{work}/home/") for word in shlex.split(command)]
    if words[0] == "zemosaic":
        words[:1] = [sys.executable, "-m", "zemosaic_app.cli"]
    elif words[0] == "python":
        words[0] = sys.executable
    if words[1:2] == ["-m"] and words[2].startswith("benchmarks."):
        words = [*words[:3], "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, cwd=work, env=environment, capture_output=True, text=True, errors="replace", check=False, timeout=900
    )


def main() -> int:
    """Run the commands of the pages, say what came of each."""
    failed, done = 0, set[str]()
    with tempfile.TemporaryDirectory(prefix="zemosaic-docs-") as name:
        work = Path(name)
        prepare(work)
        for page in pages(sys.argv[1:]):
            for command in commands(page):
                reason = why_not(command)
                if reason or command in done:
                    continue
                done.add(command)
                here = command
                if command.startswith("zemosaic patch"):
                    host = work / "host" / "zemosaic"
                    here = command.replace("DIR", str(host if host.is_dir() else _host(work)))
                elif command.startswith("zemosaic watch"):
                    here = f"{command} --end --quiet-minutes 0.05"  # else it would stay at work
                began = time.monotonic()
                with _without_plan(work) if here.startswith("zemosaic watch") else nullcontext():
                    ended = _run(here, work)
                is_right = ended.returncode in _ALLOWED
                failed += not is_right
                said = "ok" if is_right else f"FAILED ({ended.returncode})"
                print(f"{said} ({time.monotonic() - began:.1f} s): {page.name}: {command}", flush=True)
                if not is_right:
                    print(ended.stderr[-2000:])
    print(f"{len(done)} commands, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
