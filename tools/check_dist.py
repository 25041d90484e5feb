"""Compare a wheel and an sdist with the source: all modules, tables and texts, the licences, and the marker of types.

::

    python -m build --outdir DIST . && python tools/check_dist.py DIST

Ends with exit code 1 and a line for each file that is missing or too many.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("zemosaic_engine", "zemosaic_app")
_NOT_SHIPPED = {"__pycache__", "setup.py"}
_OF_THE_SDIST = {"pyproject.toml", "setup.py", "README.md"}


def shipped(root: Path = ROOT) -> set[str]:
    """Return the files of the source that an installation needs, as paths below its root."""
    files = [path for package in PACKAGES for path in (root / package).rglob("*") if path.is_file()]
    files += root.glob("*.py")
    return {path.relative_to(root).as_posix() for path in files if not _NOT_SHIPPED & {*path.parts}}


def manual(root: Path = ROOT) -> set[str]:
    """Return the documents that an installation has beside its modules, as paths below the root of the source."""
    files = [*(root / "docs").glob("*.md"), *(root / "docs").glob("images/*.png")]
    return {path.relative_to(root).as_posix() for path in files}


def licences(root: Path = ROOT) -> set[str]:
    """Return the texts of licences, as paths below the root of the source."""
    return {"LICENSE", *(f"LICENSES/{path.name}" for path in (root / "LICENSES").iterdir())}


def in_wheel(wheel: Path) -> set[str]:
    """Return the files of a wheel; its texts of licences by the names that they have in the source."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    return {
        name.partition(".dist-info/licenses/")[2] or name
        for name in names
        if ".dist-info/" not in name or "/licenses/" in name
    }


def in_sdist(sdist: Path) -> set[str]:
    """Return the files of an sdist, without the folder that holds them."""
    with tarfile.open(sdist) as archive:
        return {str(PurePosixPath(*PurePosixPath(item.name).parts[1:])) for item in archive if item.isfile()}


def differences(wheel: Iterable[str], sdist: Iterable[str], root: Path = ROOT) -> list[str]:
    """One line for each file that an installation needs and lacks, or that does not belong into the wheel."""
    needed = shipped(root) | licences(root)
    in_wheel = needed | {f"zemosaic_app/{name}" for name in manual(root)}
    in_sdist = needed | manual(root) | {name for name in _OF_THE_SDIST if (root / name).is_file()}
    lines = [f"the wheel lacks {name}" for name in sorted(in_wheel - set(wheel))]
    lines += [f"the wheel has {name}, which is not in the source" for name in sorted(set(wheel) - in_wheel)]
    return lines + [f"the sdist lacks {name}" for name in sorted(in_sdist - set(sdist))]


def main() -> int:
    """Compare what lies in a folder, say what differs."""
    folder = Path(sys.argv[1])
    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        print(f"{folder} holds {len(wheels)} wheels and {len(sdists)} sdists, not one of each")
        return 1
    lines = differences(in_wheel(wheels[0]), in_sdist(sdists[0]))
    for line in lines:
        print(line)
    print(f"{wheels[0].name}: {wheels[0].stat().st_size / 1e6:.1f} MB, {len(lines)} differences from the source")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
