"""The Grid Mode kit in the folder of an existing ZeMosaic: put in, brought up to date, taken out again.

Every step can be interrupted: a manifest says first what is going to happen, each file is replaced by
a rename, and what belongs to the host is copied away before. Whatever state an interruption leaves, the
same command, or a revert, goes on from there, because every file is recognised by its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import zemosaic_engine
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.fits.writer import atomic_path
from zemosaic_engine.machine.memory import size_text
from zemosaic_engine.regular_files import MOST_TEXT_BYTES, read_file

#: What the kit consists of beside the package `zemosaic_engine`.
KIT_MODULES = ("grid_mode.py", "zemosaic_stack_core.py")
#: Where the rest of the program lies in a host, by whose modules its names are taken: it makes pictures and reports.
KIT_FOLDER = "grid_mode_kit"
#: What the kit imports from elsewhere: distribution, module, oldest version.
KIT_NEEDS = (
    ("numpy", "numpy", "1.26"),
    ("astropy", "astropy", "6.1"),
    ("scipy", "scipy", "1.12"),
    ("reproject", "reproject", "0.14"),
    ("numba", "numba", "0.60"),
    ("threadpoolctl", "threadpoolctl", "3.1"),
    ("pydantic", "pydantic", "2.7"),
    ("array-api-compat", "array_api_compat", "1.10"),
)
#: What pictures and reports need beside that.
PAGE_NEEDS = (("pillow", "PIL", "10.3"), ("jinja2", "jinja2", "3.1"))
OLDEST_PYTHON = (3, 11)
MANIFEST_NAME = "grid_mode_kit.json"
BACKUP_NAME = "grid_mode_kit_backup"

_FORMAT = 1
_WORKER = "zemosaic_worker.py"
_ENTRY_POINT = "run_hierarchical_mosaic_process"  # of the host's worker; ours has none of that name
_WITH_THE_WORKER = ("run_zemosaic.py", "zemosaic_gui.py", "zemosaic_gui_qt.py", "zemosaic_config.py")
_NOT_IN_THE_KIT = ("zemosaic_patch.py", "zemosaic_fetch.py", "zemosaic_app/qt", "zemosaic_app/tk", "zemosaic_app/docs")
_INSIDE = (".", "src/zemosaic", "zemosaic")  # where a folder that somebody names may hold the program
_IMPORT_ORDER = {"zemosaic_stack_core.py": 1, "grid_mode.py": 2}  # everything else: 0
_VIRTUAL_ENVIRONMENTS = (".venv", "venv", "env")
_PYTHON_SECONDS = 180
_SHA256 = re.compile("[0-9a-f]{64}")

State = Literal["patching", "installed", "reverting"]
Action = Literal["add", "replace", "upgrade", "keep", "remove", "restore", "leave"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """What happens to one file, named relative to the host's folder with ``/``."""

    name: str
    action: Action


@dataclass(frozen=True)
class Entry:
    """A file of the kit in the host.

    Attributes
    ----------
    kit : tuple of str
        SHA-256 of every version of it that may stand there: one, or two while an upgrade is under way.
    own : str or None
        SHA-256 of the host's file that it stands for, which lies in the backup folder; None if there was none.
    """

    kit: tuple[str, ...]
    own: str | None


@dataclass(frozen=True)
class Manifest:
    """What was installed into a host, from `MANIFEST_NAME` in its folder."""

    state: State
    version: str
    files: Mapping[str, Entry]


@dataclass(frozen=True)
class Environment:
    """A Python and what it lacks for the kit.

    Attributes
    ----------
    python : Path
    version : tuple of int
    missing : tuple of str
        Requirements that are not met, as pip wants them.
    missing_for_pages : tuple of str
        Those of pictures and reports.
    """

    python: Path
    version: tuple[int, ...]
    missing: tuple[str, ...]
    missing_for_pages: tuple[str, ...] = ()

    @property
    def is_sufficient(self) -> bool:
        """True if the kit can run there."""
        return not self.missing and self.version >= OLDEST_PYTHON

    def advice(self) -> list[str]:
        """Return lines that say what is missing and what to do; empty if nothing is."""
        lines = []
        if self.version < OLDEST_PYTHON:
            has, needs = (".".join(map(str, version[:2])) for version in (self.version, OLDEST_PYTHON))
            lines.append(f"{self.python} is Python {has}, but Grid Mode needs {needs} or newer.")
        missing = (*self.missing, *self.missing_for_pages)
        if missing:
            lines.append(f"{self.python} lacks {', '.join(missing)}. To install:")
            lines.append(f'  "{self.python}" -m pip install ' + " ".join(f'"{need}"' for need in missing))
        if not self.is_sufficient:
            lines.append("Until then that ZeMosaic finds no Grid Mode.")
        elif missing:
            lines.append("Until then runs leave no picture and no report.html.")
        return lines


@dataclass(frozen=True)
class PatchOutcome:
    """What `patch` or `revert` did, or would do.

    Attributes
    ----------
    host : Path
        The folder of the host's modules.
    steps : sequence of Step
        One a file.
    notes : sequence of str
        What somebody should know of files that were left alone.
    """

    host: Path
    steps: Sequence[Step]
    notes: Sequence[str] = field(default=())

    def count(self, *actions: Action) -> int:
        """Number of files with one of these actions."""
        return sum(step.action in actions for step in self.steps)


# --------------------------------------------------------------------------------------------
# the kit and the host


def kit_files() -> dict[str, Path]:
    """Return every file of the kit by its name in the host, from a checkout or an installed wheel.

    Raises
    ------
    RunError
        If this installation is not complete.
    """
    root = Path(zemosaic_engine.__file__).resolve().parents[1]
    found = [*_inside(root / "zemosaic_engine"), *(root / name for name in KIT_MODULES)]
    rest = [*_inside(root / "zemosaic_app"), root / "classic_mode.py", *sorted(root.glob("zemosaic_*.py"))]
    missing = [path for path in (*found, *rest) if not path.is_file()]
    if missing:
        raise RunError(f"{missing[0]} is missing: this installation of zemosaic is not complete; install it again.")
    names = {path.relative_to(root).as_posix(): path for path in rest if path not in found}
    beside = {f"{KIT_FOLDER}/{name}": path for name, path in names.items() if not name.startswith(_NOT_IN_THE_KIT)}
    return {**{path.relative_to(root).as_posix(): path for path in found}, **beside}


def _inside(package: Path) -> list[Path]:
    return [path for path in sorted(package.rglob("*")) if path.is_file() and not _is_cache(path)]


def _is_cache(path: Path) -> bool:
    """True for what Python and numba keep for themselves, and for files under way."""
    return "__pycache__" in path.parts or path.suffix == ".pyc" or path.name.startswith(".")


def find_host(folder: Path) -> Path:
    """The folder of the host's modules: `folder` itself, or where a checkout keeps them.

    Raises
    ------
    SettingsError
        It is no ZeMosaic, or one into which the kit cannot be put.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise SettingsError(f"{folder} {what}; name the folder of the ZeMosaic that shall get Grid Mode.")
    for inside in _INSIDE:
        host = folder / inside
        if (host / _WORKER).is_file():
            break
    else:
        raise SettingsError(f"{folder} is no ZeMosaic: it has no {_WORKER}; name the folder in which that file lies.")
    host = host.resolve()
    if host == Path(zemosaic_engine.__file__).resolve().parents[1]:
        raise SettingsError(f"{folder} is this program itself; name the folder of another ZeMosaic.")
    worker = (host / _WORKER).read_text(encoding="utf-8", errors="replace")
    beside = [name for name in _WITH_THE_WORKER if (host / name).is_file()]
    if _ENTRY_POINT not in worker or not beside:
        lacks = f"defines no {_ENTRY_POINT}" if beside else f"lies alone, without {' or '.join(_WITH_THE_WORKER)}"
        raise SettingsError(f"{folder} is no ZeMosaic that can be patched: its {_WORKER} {lacks}.")
    if not any(line.strip().startswith("import grid_mode") for line in worker.splitlines()):
        raise SettingsError(
            f"The ZeMosaic in {folder} cannot be patched: its {_WORKER} does not say 'import grid_mode', so that it "
            "would never find the kit."
        )
    return host


# --------------------------------------------------------------------------------------------
# put in


def patch(folder: Path, tell: Tell, *, dry_run: bool = False, adopt: bool = False) -> PatchOutcome:
    """Put the kit into a host, or bring the one that is there up to date.

    Parameters
    ----------
    folder : Path
        See `find_host`.
    tell : callable
        Gets a line for each file that changes.
    dry_run : bool
        Only find out what would happen.
    adopt : bool
        Take files that were changed since an earlier patch for the host's own, and back them up.

    Returns
    -------
    PatchOutcome

    Raises
    ------
    SettingsError
        Not a host, not writable, no room, or files were changed since an earlier patch; nothing was touched.
    RunError
        A file could not be written; the same command goes on from there, and `revert` takes everything back.
    """
    host = find_host(folder)
    manifest = read_manifest(host)
    kit = {name: (path, _hash_of(path)) for name, path in kit_files().items()}
    known = dict(manifest.files) if manifest is not None else {}
    _check_no_links(host, {*kit, *known})
    steps, files = [], dict(known)
    changed = []
    for name in sorted({*kit, *known}):
        current = _current(host, name)
        entry = known.get(name)
        if entry is not None and current not in (None, entry.own, *entry.kit):
            changed.append(name)
            entry = None
        wanted = kit[name][1] if name in kit else None
        steps.append(Step(name, _patch_action(current, wanted, entry)))
        if wanted is not None:
            # A new file that is byte for byte the kit's (copied there by hand) is still the host's own.
            own = entry.own if entry is not None else current
            before = entry.kit if entry is not None else ()
            files[name] = Entry(tuple(dict.fromkeys((*before, wanted))), own)
    if changed and not adopt:
        raise SettingsError(_changed_text(host, changed, "Patching", "to back them up as the host's own"))
    outcome = PatchOutcome(host, [step for step in steps if step.action != "leave"])
    if dry_run:
        return outcome
    _check_room(host, sum(path.stat().st_size for path, _ in kit.values()))
    _write_manifest(host, Manifest("patching", zemosaic_engine.__version__, files))
    _back_up(host, files)
    # What the host imports comes last, after all that it needs.
    for step in sorted(outcome.steps, key=lambda step: _IMPORT_ORDER.get(step.name, 0)):
        if step.action == "remove":
            _give_back(host, step.name, files[step.name])
        elif step.action != "keep":
            _copy(kit[step.name][0], host / step.name)
        if step.action != "keep":
            tell(f"{step.action:<8}{step.name}")
    files = {name: Entry((kit[name][1],), files[name].own) for name in kit}
    _write_manifest(host, Manifest("installed", zemosaic_engine.__version__, files))
    _drop_leftovers(host, files)
    return outcome


def _patch_action(current: str | None, wanted: str | None, entry: Entry | None) -> Action:
    if wanted is None:
        return "remove" if entry is not None else "leave"
    if current == wanted:
        return "keep"
    if current is None:
        return "add"
    return "upgrade" if entry is not None and current in entry.kit else "replace"


def _back_up(host: Path, files: Mapping[str, Entry]) -> None:
    """Copy away every file of the host that still stands and has no good copy yet."""
    for name, entry in files.items():
        backup = host / BACKUP_NAME / name
        if entry.own is None or _current(host / BACKUP_NAME, name) == entry.own:
            continue
        if _current(host, name) != entry.own:
            raise RunError(
                f"The host's own {name} is neither in its place nor in {backup}; put it back from another copy of that "
                "ZeMosaic first."
            )
        _copy(host / name, backup)


# --------------------------------------------------------------------------------------------
# take out


def revert(folder: Path, tell: Tell, *, dry_run: bool = False, adopt: bool = False) -> PatchOutcome:
    """Remove the kit from a host: its own files are restored, added files are removed.

    Parameters
    ----------
    folder, tell, dry_run
        As `patch`.
    adopt : bool
        Leave files that were changed since they were put in as they are; the host's own ones stay in
        the backup folder then.

    Raises
    ------
    SettingsError
        There is no kit, or files of it were changed since; nothing was touched.
    RunError
        A backup is damaged or a file could not be written; what was reverted stays reverted, and the
        same command goes on from there.
    """
    host = find_host(folder)
    manifest = read_manifest(host)
    if manifest is None:
        raise SettingsError(f"{host} holds no {MANIFEST_NAME}: no Grid Mode kit was put in there, nothing to revert.")
    _check_no_links(host, manifest.files)
    steps, changed = [], []
    for name, entry in sorted(manifest.files.items()):
        current = _current(host, name)
        if current == entry.own:
            action: Action = "keep"
        elif current is None or current in entry.kit:
            action = "remove" if entry.own is None else "restore"
        else:
            action = "leave"
            changed.append(name)
        steps.append(Step(name, action))
    if changed and not adopt:
        raise SettingsError(_changed_text(host, changed, "Reverting", "to leave them as they are"))
    notes = [f"{name} was changed since and stays as it is" for name in changed]
    outcome = PatchOutcome(host, steps, notes)
    for step in steps:
        entry = manifest.files[step.name]
        if step.action == "restore" and _current(host / BACKUP_NAME, step.name) != entry.own:
            raise RunError(
                f"The backup {host / BACKUP_NAME / step.name} is missing or damaged, so that {step.name} cannot be "
                "restored; nothing was reverted. Put that file back from another copy of that ZeMosaic."
            )
    if dry_run:
        return outcome
    _check_room(host, 0)
    _write_manifest(host, replace(manifest, state="reverting"))
    # The host must never find the module without the engine that it imports.
    for step in sorted(steps, key=lambda step: -_IMPORT_ORDER.get(step.name, 0)):
        if step.action in ("remove", "restore"):
            _give_back(host, step.name, manifest.files[step.name])
            tell(f"{step.action:<8}{step.name}")
    _clear_away(host, manifest.files, kept=[name for name in changed if manifest.files[name].own is not None])
    return outcome


def _give_back(host: Path, name: str, entry: Entry) -> None:
    """The host's own file in the place of the kit's, or none."""
    if entry.own is not None:
        _copy(host / BACKUP_NAME / name, host / name)
        return
    try:
        (host / name).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{host / name} cannot be removed: {error.strerror}.") from error


def _clear_away(host: Path, files: Mapping[str, Entry], *, kept: Sequence[str]) -> None:
    """Backups, caches, empty folders and, last, the manifest; `kept` names backups that stay."""
    _drop_leftovers(host, files)
    for name in files:
        if name not in kept:
            (host / BACKUP_NAME / name).unlink(missing_ok=True)
        module = host / name
        for cached in (module.parent / "__pycache__").glob(f"{module.stem}.*"):
            cached.unlink()
    folders = {host / parent for name in files for parent in PurePosixPath(name).parents if parent.name}
    folders |= {host / BACKUP_NAME / folder.relative_to(host) for folder in folders} | {host / BACKUP_NAME}
    folders |= {folder / "__pycache__" for folder in (host, *folders)}
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # not empty: somebody keeps files there, or not there
            folder.rmdir()
    (host / MANIFEST_NAME).unlink()


def _drop_leftovers(host: Path, files: Iterable[str]) -> None:
    """Remove what an interrupted copy left under its temporary name."""
    for name in (*files, MANIFEST_NAME):
        for place in (host / name, host / BACKUP_NAME / name):
            for leftover in place.parent.glob(f".{place.stem}.*.part{place.suffix}"):
                leftover.unlink()


# --------------------------------------------------------------------------------------------
# files


def read_manifest(host: Path) -> Manifest | None:
    """Return what was installed into a host; None if nothing was.

    Raises
    ------
    RunError
        The manifest cannot be read.
    """
    path = host / MANIFEST_NAME
    try:
        content: Any = json.loads(read_file(path, MOST_TEXT_BYTES).decode("utf-8"))
        if content["format"] != _FORMAT:
            raise RunError(f"{path} was written by a newer zemosaic; use that one.")
        files = {name: _entry(name, entry) for name, entry in content["files"].items()}
        return Manifest(content["state"], content["version"], files)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path} cannot be read as a manifest ({error}); the host's own files lie in {host / BACKUP_NAME}."
        ) from error


def _entry(name: str, told: Mapping[str, Any]) -> Entry:
    """Return the entry of a manifest for one file; `ValueError` if it is invalid."""
    if not _may_be_of_the_kit(name):
        raise ValueError(f"{name!r} is no file of the kit")
    sums = [*told["kit"], *([] if told["own"] is None else [told["own"]])]
    if not all(isinstance(text, str) and _SHA256.fullmatch(text) for text in sums):
        raise ValueError(f"what it says of {name} are no SHA-256 sums")
    return Entry(tuple(told["kit"]), told["own"])


def _may_be_of_the_kit(name: str) -> bool:
    """True for the modules of the kit and for relative names below its folders, on any system."""
    parts = name.split("/")
    is_plain = not set(name) & set("\\:\0") and not {"", ".", ".."} & set(parts)
    return is_plain and (name in KIT_MODULES or (parts[0] in ("zemosaic_engine", KIT_FOLDER) and len(parts) > 1))


def _check_no_links(host: Path, names: Iterable[str]) -> None:
    """Check that nothing to be read, written or removed is a link, nor any folder on its path.

    Raises
    ------
    SettingsError
        If one is.
    """
    below = {PurePosixPath(place) for name in names for place in (name, f"{BACKUP_NAME}/{name}")}
    folders = {folder for name in below for folder in name.parents}
    caches = {folder / "__pycache__" for folder in folders}
    for place in sorted({*below, *folders, *caches}):
        if place.name and (host / place).is_symlink():
            raise SettingsError(f"{host / place} is a link, which leads elsewhere; put what it stands for there first.")


def _write_manifest(host: Path, manifest: Manifest) -> None:
    content = {
        "format": _FORMAT,
        "about": "Grid Mode kit: 'kit' are SHA-256 sums of what was put in, 'own' those of what it replaced, "
        f"kept in {BACKUP_NAME}; 'zemosaic patch FOLDER --revert' takes it out",
        "state": manifest.state,
        "version": manifest.version,
        "files": {name: {"kit": list(entry.kit), "own": entry.own} for name, entry in sorted(manifest.files.items())},
    }
    with atomic_path(host / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    """Bytes, permissions and times, whole or not at all."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        shutil.copystat(source, temporary)
        if not os.access(temporary, os.W_OK):  # the copy of a read-only file must be brought to disk too
            temporary.chmod(temporary.stat().st_mode | 0o200)


def _current(folder: Path, name: str) -> str | None:
    """Hash of a file that stands in a folder now; None if none does."""
    path = folder / name
    return _hash_of(path) if path.is_file() else None


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_room(host: Path, needed: int) -> None:
    """The folder can be written to and has room for the kit and its backups."""
    try:
        with tempfile.TemporaryFile(dir=host):
            pass
    except OSError as error:
        raise SettingsError(f"{host} cannot be written to: {error.strerror}.") from error
    free = shutil.disk_usage(host).free
    if 2 * needed > free:
        raise SettingsError(
            f"The kit with its backups needs {size_text(2 * needed)} in {host}, but only {size_text(free)} are free."
        )


def _changed_text(host: Path, names: Sequence[str], doing: str, otherwise: str) -> str:
    several = f" and {len(names) - 1} other files were" if len(names) > 1 else " was"
    return (
        f"{names[0]}{several} changed in {host} since the kit was put in, by you or by an update of that ZeMosaic. "
        f"{doing} would destroy that: save what you need elsewhere and run again with --keep-changed {otherwise}."
    )


# --------------------------------------------------------------------------------------------
# the Python that will run it


def host_python(host: Path, named: Path | None = None) -> Path:
    """The Python that runs a host: the one named, that of a virtual environment beside it, or this one.

    Raises
    ------
    SettingsError
        The one named is no file.
    """
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"There is no Python at {named}.")
        return named.absolute()  # not resolved: the link is what tells a virtual environment
    for folder in (host, host.parent, host.parent.parent):
        for environment in _VIRTUAL_ENVIRONMENTS:
            for program in ("bin/python", "Scripts/python.exe"):
                if (folder / environment / program).is_file():
                    return folder / environment / program
    return Path(sys.executable)


_ASK_VERSIONS = """
import importlib.metadata, importlib.util, json, sys
found = {}
for distribution, module in json.loads(sys.argv[1]):
    try:
        found[distribution] = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        found[distribution] = "" if importlib.util.find_spec(module) else None
print(json.dumps([list(sys.version_info[:3]), found]))
"""

_ASK_IMPORT = """
import sys
sys.path[:0] = sys.argv[1:]
import grid_mode
grid_mode.detect_grid_mode, grid_mode.run_grid_mode
print(grid_mode.__file__)
"""


def check_environment(python: Path) -> Environment:
    """Return what a Python lacks for the kit.

    Raises
    ------
    SettingsError
        It cannot be run.
    """
    asked = json.dumps([(distribution, module) for distribution, module, _ in (*KIT_NEEDS, *PAGE_NEEDS)])
    done = _run_python(python, _ASK_VERSIONS, asked)
    try:
        version, found = json.loads(done.stdout)
    except ValueError as error:
        raise SettingsError(f"{python} cannot be run as a Python: {_last_line(done.stderr)}.") from error

    def missing(needs: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
        return tuple(
            f"{distribution}>={oldest}"
            for distribution, _, oldest in needs
            if found[distribution] is None or (found[distribution] and _numbers(found[distribution]) < _numbers(oldest))
        )

    return Environment(python, tuple(version), missing(KIT_NEEDS), missing(PAGE_NEEDS))


def import_problem(host: Path, python: Path) -> str:
    """Return why the host's Python cannot import the kit from its folder; empty if it can."""
    done = _run_python(python, _ASK_IMPORT, str(host.parent), str(host))
    if done.returncode:
        return _last_line(done.stderr)
    found = Path(done.stdout.strip().splitlines()[-1]).resolve()
    return "" if found == host / KIT_MODULES[0] else f"it imports {found} instead"


def _run_python(python: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [python, "-c", code, *arguments],
            cwd=python.parent,  # "" is first on its path, and a host's folder has modules of common names
            capture_output=True,
            text=True,
            timeout=_PYTHON_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{python} cannot be run as a Python: {error}.") from error


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it said nothing"


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
