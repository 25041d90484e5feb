"""Files of a finished step: they are kept as long as they are as they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkpoints import Checkpoints
from .fingerprints import file_digest, fingerprint


@dataclass(frozen=True)
class WrittenFiles:
    """The record of files that were written.

    Attributes
    ----------
    digests : dict of str to str
        SHA-256 of each file by its name in the output folder; of a folder, the fingerprint of all files in it.
    """

    digests: dict[str, str]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> WrittenFiles:
        """Return the record of files and folders in one folder."""
        return cls({path.name: _digest(path) for path in paths})

    def __or__(self, other: WrittenFiles) -> WrittenFiles:
        """Return the record of these files and of others in the same folder."""
        return WrittenFiles(self.digests | other.digests)

    def paths(self, folder: Path) -> list[Path]:
        """Return where the files are."""
        return [folder / name for name in self.digests]

    def are_whole(self, folder: Path) -> bool:
        """True if every file is there and has the bytes that were written."""
        try:
            return all(_digest(folder / name) == digest for name, digest in self.digests.items())
        except OSError:
            return False


def _digest(path: Path) -> str:
    if not path.is_dir():
        return file_digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return fingerprint([(file.relative_to(path).as_posix(), file_digest(file)) for file in files])


def write_once(
    checkpoints: Checkpoints, parts: Sequence[object], folder: Path, write: Callable[[], Sequence[Path]]
) -> list[Path]:
    """Write files that depend on `parts`, unless an earlier run did and they are whole; return those that are kept.

    Parameters
    ----------
    checkpoints : Checkpoints
    parts : sequence
        What the bytes of the files depend on; empty if they are not kept.
    folder : Path
        Where they are.
    write : callable
        Writes them and returns their paths.
    """
    if not (checkpoints.keeps and parts):
        write()
        return []
    key = checkpoints.key("files", *parts)
    found = checkpoints.get("files", key, WrittenFiles)
    if found is not None and found.are_whole(folder):
        return found.paths(folder)
    checkpoints.put("files", key, WrittenFiles.of(write()))
    return []
