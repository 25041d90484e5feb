"""Files that arrive in a folder while it is watched; one that is still being written is left until it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError, SubError
from ..regular_files import FileState, file_state
from ..sentences import say
from .faults import read_guarded
from .folder import list_folder
from .image_files import find_image, is_mappable, kind_of, read_image

#: A file that was written to a moment ago may be written to again.
_REST_S = 2.0
#: A file that cannot be read is taken for damaged, no longer for one that is being written.
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Arrived:
    """What a look into a folder found.

    Attributes
    ----------
    whole : sequence of Path
        Files that are there as a whole and were not taken yet, or changed since.
    gone : sequence of Path
        Files that were taken and are no longer there, or are no longer what they were.
    unfinished : sequence of Path
        Files that seem to be being written.
    """

    whole: Sequence[Path] = ()
    gone: Sequence[Path] = ()
    unfinished: Sequence[Path] = ()


@dataclass
class _Seen:
    """A file as it was at the last look, and since when it has not changed."""

    state: FileState
    since_s: float
    is_whole: bool = False


class Arrivals:
    """Looks into a folder again and again.

    Parameters
    ----------
    folder : Path
    recursive : bool
        Whether the folders below are looked into.
    now : callable, optional
        Clock in seconds; tests hand in their own.
    """

    def __init__(self, folder: Path, *, recursive: bool = True, now: Callable[[], float] = time.time) -> None:
        self._folder, self._recursive, self._now = folder, recursive, now
        self._seen: dict[Path, _Seen] = {}
        self._taken: dict[Path, FileState] = {}

    def look(self) -> Arrived:
        """Return what is there now.

        Raises
        ------
        SettingsError
            If the folder cannot be listed, or all that was taken from it is gone, as on a share that was lost.
        """
        now = self._now()
        states = _states(list_folder(self._folder, recursive=self._recursive).files)
        if self._taken and not states:
            raise SettingsError(say("The folder {folder} is empty all at once.", folder=self._folder))
        gone = [path for path, state in self._taken.items() if states.get(path) != state]
        for path in gone:
            del self._taken[path]
        whole: list[Path] = []
        unfinished: list[Path] = []
        seen: dict[Path, _Seen] = {}
        for path, state in states.items():
            if path in self._taken:
                continue
            before = self._seen.get(path)
            if before is None or before.state != state:
                before = _Seen(state, _last_touched(state, now))
            seen[path] = before
            (whole if self._is_whole(path, seen[path], now) else unfinished).append(path)
        self._seen = seen
        return Arrived(whole, gone, unfinished)

    def take(self, paths: Sequence[Path]) -> None:
        """Note that files of the last look were taken: they are not told again unless they change."""
        for path in paths:
            if path in self._seen:
                self._taken[path] = self._seen.pop(path).state

    def is_taken(self, path: Path) -> bool:
        """True for a file that was taken and has not changed since, as far as the last look knows."""
        return path in self._taken

    def _is_whole(self, path: Path, seen: _Seen, now: float) -> bool:
        rested_s = now - seen.since_s
        if not seen.is_whole and rested_s >= _REST_S:
            seen.is_whole = rested_s >= _PATIENCE_S or _can_be_read(path)
        return seen.is_whole


def _states(files: Sequence[Path]) -> dict[Path, FileState]:
    states = {}
    for path in files:
        if kind_of(path).is_image:
            try:
                states[path] = file_state(path)
            except OSError:  # it went away since the folder was listed
                continue
    return states


def _last_touched(state: FileState, now: float) -> float:
    """When a file that is seen for the first time was last written to; now if its clock is ahead of this one."""
    # A file that is moved here keeps its old time of modification, and is whole at once.
    return min(state.mtime_ns / 1e9, now)


def _can_be_read(path: Path) -> bool:
    """True if all that the header of a file promises is there."""
    try:
        image = read_guarded(path, lambda: find_image(path))
        if not is_mappable(path, image):
            read_guarded(path, lambda: read_image(path, image.hdu))  # its length tells nothing
    except SubError:
        return False
    return True
