"""Walks a folder as people keep it, and finds its subs and all that lies beside them."""

from __future__ import annotations

import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import SettingsError, SubError
from ..fits.headers import HeaderCards
from ..fits.reader import StoredImage
from ..sentences import say
from .faults import read_guarded
from .frames import SubInfo, UnsolvedSub, sub_of_image
from .image_files import Kind, find_image, kind_of
from .roles import FolderFile, Role, role_of_file
from .sidecars import Sidecars
from .stack_plan import PlanRow, time_order

#: Folders that systems and programs keep for themselves.
_NOT_FOR_PEOPLE = frozenset(
    ("__macosx", "$recycle.bin", "system volume information", "@eadir", "#recycle", "lost+found", "thumbnail")
)
#: In an output folder of this program.
_OUTPUT_MARKS = (".zemosaic", "run_report.json")


@dataclass(frozen=True)
class Listing:
    """The files of a folder, before any of them is opened.

    Attributes
    ----------
    files : sequence of Path
        Those whose names promise an image or a picture, in the order of folders and names.
    rejected : sequence of SubError
        What looks like a sub or like a folder of subs and cannot be read.
    skipped : sequence of Path
        Output folders of this program.
    """

    files: Sequence[Path]
    rejected: Sequence[SubError]
    skipped: Sequence[Path]


def list_folder(folder: Path, *, recursive: bool = True) -> Listing:
    """List the images of a folder and of the folders below it.

    Hidden files and folders, those of the system, and output folders of this program are passed over. A symbolic
    link is followed once: one that leads to a folder that was listed already, to nothing, or to what is no file is
    told.

    Raises
    ------
    SettingsError
        If the folder itself cannot be listed.
    """
    return _Walk(folder, recursive).listing()


class _Walk:
    """One walk over a folder; real folders first, then what links lead to."""

    def __init__(self, folder: Path, recursive: bool) -> None:
        self._recursive = recursive
        self._root = folder
        self._files: list[Path] = []
        self._rejected: list[SubError] = []
        self._skipped: list[Path] = []
        self._links: list[Path] = []
        self._seen: set[str] = set()

    def listing(self) -> Listing:
        try:
            self._enter(self._root)
        except OSError as error:
            raise SettingsError(
                say("The folder {folder} cannot be listed: {why}.", folder=self._root, why=error.strerror or error)
            ) from error
        while self._links:
            link = self._links.pop(0)
            if os.path.realpath(link) in self._seen:
                self._rejected.append(SubError(link, say("it is a link to a folder that was looked into already")))
            else:
                self._look_into(link)
        by_place = [(path.parent.parts, path.name) for path in self._files]
        files = [path for _, path in sorted(zip(by_place, self._files, strict=True))]
        return Listing(files, sorted(self._rejected, key=lambda error: str(error.path)), self._skipped)

    def _look_into(self, folder: Path) -> None:
        try:
            self._enter(folder)
        except OSError as error:
            self._rejected.append(
                SubError(folder, say("the folder cannot be looked into: {why}", why=error.strerror or error))
            )

    def _enter(self, folder: Path) -> None:
        self._seen.add(os.path.realpath(folder))
        with os.scandir(folder) as entries:
            names = sorted(entries, key=lambda entry: entry.name)
        if folder != self._root and any(entry.name in _OUTPUT_MARKS for entry in names):
            self._skipped.append(folder)
            return
        for entry in names:
            if not entry.name.startswith(".") and entry.name.lower() not in _NOT_FOR_PEOPLE:
                self._take(folder / entry.name, entry)

    def _take(self, path: Path, entry: os.DirEntry[str]) -> None:
        kind = kind_of(path)
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            self._take_unreachable(path, entry, kind, error)
            return
        if stat.S_ISDIR(mode):
            if kind.is_image:
                self._rejected.append(SubError(path, say("it is a folder, whatever its name says")))
            if self._recursive and entry.is_symlink():
                self._links.append(path)
            elif self._recursive:
                self._look_into(path)
        elif stat.S_ISREG(mode):
            if kind is not Kind.OTHER:
                self._files.append(path)
        elif kind.is_image:
            self._rejected.append(SubError(path, say("it is a pipe or a device, not a file")))

    def _take_unreachable(self, path: Path, entry: os.DirEntry[str], kind: Kind, error: OSError) -> None:
        """Record a dead link or an unreadable file, whose role only its name suggests."""
        is_link = entry.is_symlink()
        if kind.is_image or (is_link and not path.suffix and self._recursive):
            if is_link and isinstance(error, FileNotFoundError):
                self._rejected.append(
                    SubError(path, say("it is a link to {path}, which is not there", path=os.readlink(path)))
                )
            else:
                self._rejected.append(SubError(path, say("it cannot be read: {why}", why=error.strerror or error)))


# --- what the files are


@dataclass(frozen=True)
class FoundSubs:
    """The subs of a plan or of a folder, and what lies beside them.

    Attributes
    ----------
    infos : sequence of SubInfo
        Those that are plate-solved.
    unsolved : sequence of UnsolvedSub
        Those that could be used if they were.
    rejected : sequence of SubError
        Those that cannot be used.
    others : sequence of FolderFile
        What is no light: calibration frames, stacks, pictures, doubles.
    skipped : sequence of Path
        Folders that were not looked into: outputs of this program.
    notes : sequence of str
        What a person should know of the folder, one sentence each.
    """

    infos: Sequence[SubInfo]
    unsolved: Sequence[UnsolvedSub]
    rejected: Sequence[SubError]
    others: Sequence[FolderFile] = ()
    skipped: Sequence[Path] = ()
    notes: Sequence[str] = ()

    @property
    def subs(self) -> list[SubInfo | UnsolvedSub]:
        """Those that are solved, then those that are not."""
        return [*self.infos, *self.unsolved]

    def of_role(self, *roles: Role) -> list[FolderFile]:
        """The other files that have one of the roles."""
        return [file for file in self.others if file.role in roles]

    def count_by_role(self) -> dict[Role, int]:
        """Return the number of files of each role found, in the order of `Role`, without lights."""
        counts = Counter(file.role for file in self.others)
        return {role: counts[role] for role in Role if counts[role]}

    def without_unsolved(self) -> FoundSubs:
        """The same with the unsolved subs among those that cannot be used."""
        unsolved = [SubError(sub.path, sub.reason) for sub in self.unsolved]
        rejected = sorted([*self.rejected, *unsolved], key=lambda error: str(error.path))
        return replace(self, unsolved=(), rejected=rejected)


def scan_folder(
    folder: str | Path,
    *,
    recursive: bool = True,
    as_tiles: bool = False,
    saturation_adu: float = 0.0,
    on_file: Callable[[int, int], None] | None = None,
    refused: Callable[[Path], str] = lambda path: "",
    ignored: Callable[[Path], bool] = lambda path: False,
) -> FoundSubs:
    """Read the headers of all images of a folder and of the folders below it, and sort them by what they are for.

    Parameters
    ----------
    folder : path-like
        The folder.
    recursive : bool
        False leaves its sub-folders out.
    as_tiles : bool
        Take every image for one to be used, whatever it is for: finished tiles are stacks.
    saturation_adu : float
        As in `frames.read_sub`.
    on_file : callable, optional
        Called with the number of files looked at and their total; it may raise to stop.
    refused : callable, optional
        Why a file is not to be touched; empty where it may be.
    ignored : callable, optional
        True for a file that is passed over as if it were not there.

    Returns
    -------
    FoundSubs
        Subs in the order of time, then of names, those without a date last; the rest in the order of names.

    Raises
    ------
    SettingsError
        If the folder cannot be listed.
    """
    folder = Path(folder)
    listing = list_folder(folder, recursive=recursive)
    files = [path for path in listing.files if not ignored(path)]
    scan = _Scan(folder, as_tiles, saturation_adu, list(listing.rejected), refused)
    for number, path in enumerate(files, start=1):
        scan.take(path)
        if on_file is not None:
            on_file(number, len(files))
    return replace(scan.found(), skipped=listing.skipped)


def scan_files(
    folder: Path,
    files: Sequence[Path],
    *,
    saturation_adu: float = 0.0,
    refused: Callable[[Path], str] = lambda path: "",
    beside_lights: bool = False,
) -> FoundSubs:
    """As `scan_folder`, of some of the files of a folder.

    Parameters
    ----------
    beside_lights : bool
        Whether the folder holds lights beside these files, so that subs that another program wrote anew do not count.
    """
    scan = _Scan(folder, False, saturation_adu, [], refused)
    for path in files:
        scan.take(path)
    return scan.found(beside_lights=beside_lights)


class _Scan:
    """Finds the role of each file of a folder."""

    def __init__(
        self,
        folder: Path,
        as_tiles: bool,
        saturation_adu: float,
        rejected: list[SubError],
        refused: Callable[[Path], str],
    ) -> None:
        self._refused = refused
        self._folder = folder
        self._as_tiles = as_tiles
        self._saturation_adu = saturation_adu
        self._rejected = rejected
        self._lights: list[SubInfo | UnsolvedSub] = []
        self._processed: list[FolderFile] = []
        self._others: list[FolderFile] = []
        self._sidecars = Sidecars()

    def take(self, path: Path) -> None:
        """Look at one more file."""
        if kind_of(path) is Kind.PICTURE:
            self._others.append(FolderFile(path, Role.PICTURE, "its name says so"))
            return
        try:
            if reason := self._refused(path):
                raise SubError(path, reason)
            image = read_guarded(path, lambda: find_image(path))
        except SubError as error:
            self._take_unreadable(error)
            return
        header = self._sidecars.completed(path, image.header)
        file = role_of_file(path, self._folder, header)
        if self._as_tiles or file.role is Role.LIGHT:
            self._take_light(path, replace(image, header=header))
        elif file.role is Role.PROCESSED:
            self._processed.append(file)
        else:
            self._others.append(file)

    def _take_unreadable(self, error: SubError) -> None:
        """A file that cannot be opened is missed if it would have been a light."""
        file = role_of_file(error.path, self._folder, HeaderCards({}))
        if self._as_tiles or file.role in (Role.LIGHT, Role.PROCESSED):
            self._rejected.append(error)
        else:
            self._others.append(replace(file, told_by=f"{file.told_by}; {error.reason}"))

    def _take_light(self, path: Path, image: StoredImage) -> None:
        if kind_of(path) is Kind.TIFF and image.bitpix == 8:
            self._others.append(FolderFile(path, Role.PICTURE, "it has 8 bits a pixel", header=image.header))
            return
        try:
            sub = sub_of_image(path, image, saturation_adu=self._saturation_adu)
        except SubError as error:
            self._rejected.append(error)
            return
        if not sub.session and path.parent != self._folder:
            sub = replace(sub, session=path.parent.relative_to(self._folder).as_posix())
        self._lights.append(sub)

    def found(self, *, beside_lights: bool = False) -> FoundSubs:
        """All that was found so far."""
        if self._lights or beside_lights:
            self._others.extend(self._processed)
        else:  # the lights themselves are not there: what was made of them has to do
            for file in self._processed:
                try:
                    self._lights.append(_read_light(file.path, self._sidecars, self._saturation_adu))
                except SubError as error:
                    self._rejected.append(error)
        infos = sorted((sub for sub in self._lights if isinstance(sub, SubInfo)), key=time_order)
        unsolved = sorted((sub for sub in self._lights if isinstance(sub, UnsolvedSub)), key=time_order)
        rejected = sorted(self._rejected, key=lambda error: str(error.path))
        return FoundSubs(infos, unsolved, rejected, sorted(self._others, key=lambda file: str(file.path)))


def _read_light(path: Path, sidecars: Sidecars, saturation_adu: float) -> SubInfo | UnsolvedSub:
    """Read the header of a sub, completed by the notes beside it."""
    image = read_guarded(path, lambda: find_image(path))
    header = sidecars.completed(path, image.header)
    return sub_of_image(path, replace(image, header=header), saturation_adu=saturation_adu)


# --- the subs that a plan names


def read_subs(
    rows: Sequence[PlanRow],
    *,
    saturation_adu: float = 0.0,
    on_file: Callable[[int, int], None] | None = None,
    refused: Callable[[Path], str] = lambda path: "",
) -> FoundSubs:
    """Read the headers of the subs of a plan; what the plan says of a sub wins over its header.

    Parameters
    ----------
    rows : sequence of PlanRow
        The subs.
    saturation_adu : float
        As in `frames.read_sub`.
    on_file : callable, optional
        Called with the number of files looked at and their total; it may raise to stop.
    refused : callable, optional
        Why a file is not to be touched; empty where it may be.

    Returns
    -------
    FoundSubs
        Each kind in the order of `rows`.
    """
    infos: list[SubInfo] = []
    unsolved: list[UnsolvedSub] = []
    rejected: list[SubError] = []
    sidecars = Sidecars()
    for number, row in enumerate(rows, start=1):
        try:
            if reason := refused(row.path):
                raise SubError(row.path, reason)
            sub = _read_light(row.path, sidecars, saturation_adu)
        except SubError as error:
            rejected.append(error)
        else:
            told = {name: text for name in ("filter", "session", "mount") if (text := getattr(row, name))}
            exposure_s = sub.exposure_s if math.isnan(row.exposure_s) else row.exposure_s
            if isinstance(sub, SubInfo):
                infos.append(replace(sub, exposure_s=exposure_s, **told))
            else:
                unsolved.append(replace(sub, exposure_s=exposure_s, **told))
        if on_file is not None:
            on_file(number, len(rows))
    return FoundSubs(infos, unsolved, rejected)


def beside_plan(folder: Path, rows: Sequence[PlanRow], *, recursive: bool = True) -> list[FolderFile]:
    """Images of a folder that its plan does not list, with what they are for, in the order of names.

    Raises
    ------
    SettingsError
        If the folder cannot be listed.
    """
    listed = {os.path.realpath(row.path) for row in rows}
    files = []
    for path in list_folder(folder, recursive=recursive).files:
        if not kind_of(path).is_image or os.path.realpath(path) in listed:
            continue
        try:
            header = read_guarded(path, partial(find_image, path)).header
        except SubError:
            continue  # it could not be stacked, listed or not
        files.append(role_of_file(path, folder, header))
    return files
