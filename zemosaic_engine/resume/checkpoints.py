"""Results of a run on disk, found by what they depend on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..errors import RunError
from ..fits.writer import remove
from ..regular_files import MOST_TABLE_BYTES, is_regular, read_file
from ..sentences import say
from .fingerprints import engine_fingerprint, fingerprint
from .records import DamagedRecord, decode, encode
from .sub_digests import DigestNote, SubDigests

Record = TypeVar("Record")


class Checkpoints:
    """Records of work done, each in a file of its own named by its key.

    A key is the fingerprint of everything that the record depends on, the program's own code included: a
    record that is found is valid. Every file carries its checksum; a damaged one is told of, removed and
    made again. Nothing is brought to disk by force: what a power cut loses is made again too.

    Parameters
    ----------
    folder : Path or None
        Where the records are; made when the first one is written. None keeps nothing.
    on_damage : callable, optional
        Called with a sentence about each damaged record.
    journal : bool
        False if another process keeps the digests of the files.

    Attributes
    ----------
    subs : SubDigests
        Digests of the files that the run reads.
    """

    def __init__(
        self,
        folder: Path | None = None,
        on_damage: Callable[[str], None] | None = None,
        *,
        journal: bool = True,
    ) -> None:
        self._folder = folder
        self._on_damage = on_damage or (lambda text: None)
        self._lock = threading.Lock()
        self._used: set[Path] = set()
        self.subs = SubDigests(folder / "subs.journal" if folder is not None and journal else None)

    @classmethod
    def of_worker(cls, folder: Path, notes: Iterable[DigestNote | None]) -> Checkpoints:
        """Records in a folder that another process keeps; `notes` are the digests that it has sent."""
        checkpoints = cls(folder, journal=False)
        for note in notes:
            checkpoints.subs.learn(note)
        return checkpoints

    @property
    def folder(self) -> Path | None:
        """Where the records are; None if nothing is kept."""
        return self._folder

    @property
    def keeps(self) -> bool:
        """False if nothing is kept."""
        return self._folder is not None

    def key(self, *parts: object) -> str:
        """The key of a record that depends on `parts` and on nothing else but this program."""
        return fingerprint(engine_fingerprint(), *parts)

    def get(self, kind: str, key: str, of: type[Record]) -> Record | None:
        """The record of that key, or None if there is none that is whole."""
        path = self._path(kind, key)
        if path is None:
            return None
        if os.path.lexists(path) and not is_regular(path):
            self._on_damage(
                f"The state file {path.parent.name}/{path.name} is damaged (it is no file): it is made again"
            )
            remove(path)
            return None
        try:
            data = read_file(path, MOST_TABLE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunError(
                say("The state of the run, {path}, cannot be read: {why}.", path=path, why=error.strerror or error)
            ) from error
        try:
            record = decode(data, of)
        except DamagedRecord as error:
            self._on_damage(f"The state file {path.parent.name}/{path.name} is damaged ({error}): it is made again")
            self.drop(kind, key)
            return None
        self._use(path)
        return record

    def put(self, kind: str, key: str, record: object) -> None:
        """Keep a record.

        Raises
        ------
        RunError
            If the disk is full or the folder cannot be written; no half a record is left.
        """
        path = self._path(kind, key)
        if path is None:
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(encode(record))
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise RunError(
                say(
                    "The state of the run cannot be written to {folder}: {why}. "
                    "Free some space there or make it writable, "
                    "and give the same command again: it goes on where it was.",
                    folder=path.parent,
                    why=error.strerror or error,
                )
            ) from error
        self._use(path)

    def drop(self, kind: str, key: str) -> None:
        """Forget a record."""
        path = self._path(kind, key)
        if path is not None:
            path.unlink(missing_ok=True)

    def keep_only_used(self) -> None:
        """Remove every record that this run neither found nor made."""
        if self._folder is None or not self._folder.is_dir():
            return
        with self._lock:
            for path in self._folder.glob("*/*.record"):
                if path not in self._used:
                    path.unlink(missing_ok=True)
        self.subs.keep_only_asked()

    def _path(self, kind: str, key: str) -> Path | None:
        return None if self._folder is None else self._folder / kind / f"{key[:40]}.record"

    def _use(self, path: Path) -> None:
        with self._lock:
            self._used.add(path)
