"""Plate solutions that were found before, by the contents of the sub and the way of solving."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import RunError
from ..fits.headers import CardValue
from ..regular_files import MOST_TABLE_BYTES, is_regular, open_own, read_file
from ..sentences import say

NAME = "plate_solutions.journal"


@dataclass(frozen=True)
class KeptSolution:
    """A solution as it is kept.

    Attributes
    ----------
    sub, way : str
        Digest of the contents of the sub; fingerprint of all else that the solution depends on (program, catalogues,
        hints, the sub that led it).
    cards : dict
        Of the plate.
    stars : int
        That it rests on.
    rms_px, log_odds : float
    origin : str
        ``"header"``, ``"camera"``, ``"blind"``.
    """

    sub: str
    way: str
    cards: Mapping[str, CardValue]
    stars: int
    rms_px: float
    log_odds: float
    origin: str


class SolutionJournal:
    """Solutions in a file, a line each with a checksum; what was cut short is passed over.

    Parameters
    ----------
    path : Path or None
        None keeps nothing.
    anew : bool
        Use nothing that is there, and replace it.
    before_writing : callable
        Called once, before the file is written to; what it raises goes to whoever keeps a solution.
    """

    def __init__(
        self, path: Path | None, *, anew: bool = False, before_writing: Callable[[], None] = lambda: None
    ) -> None:
        self._path, self._anew, self._before_writing = path, anew, before_writing
        self._is_written = False
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], KeptSolution] = {}
        if path is not None and not anew and is_regular(path):
            for line in read_file(path, MOST_TABLE_BYTES).decode("utf-8", "replace").splitlines():
                solution = _parsed(line)
                if solution is not None:
                    self._kept[solution.sub, solution.way] = solution

    def find(self, sub: str, way: str) -> KeptSolution | None:
        """The solution of a sub; None if there is none."""
        with self._lock:
            return self._kept.get((sub, way))

    def keep(self, solution: KeptSolution) -> None:
        """Add a solution.

        Raises
        ------
        RunError
            If the file cannot be written.
        """
        text = json.dumps(asdict(solution), sort_keys=True)
        with self._lock:
            self._kept[solution.sub, solution.way] = solution
            if self._path is None:
                return
            try:
                if not self._is_written:
                    self._before_writing()
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                mode = "wb" if self._anew and not self._is_written else "a+b"
                self._is_written = True
                line = f"\n{zlib.crc32(text.encode()):08x} {text}\n"  # a line that was cut short ends here
                with open_own(self._path, mode) as file:
                    file.write(line.encode())
            except OSError as error:
                raise RunError(
                    say(
                        "Plate solutions cannot be written to {path}: {why}. "
                        "Free some space there or make it writable, and "
                        "give the same command again: it goes on where it was.",
                        path=self._path,
                        why=error.strerror or error,
                    )
                ) from error


def _parsed(line: str) -> KeptSolution | None:
    checksum, _, text = line.partition(" ")
    if checksum != f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}":
        return None
    try:
        solution = KeptSolution(**json.loads(text))
    except (TypeError, ValueError, RecursionError):  # of another version, or of nobody
        return None
    texts, numbers = (solution.sub, solution.way, solution.origin), (solution.rms_px, solution.log_odds)
    cards = solution.cards if isinstance(solution.cards, dict) else {"": None}
    is_whole = (
        all(isinstance(value, str) for value in (*texts, *cards))
        and all(isinstance(value, int | float) for value in (*numbers, solution.stars))
        and all(isinstance(value, str | int | float) for value in cards.values())
    )
    return solution if is_whole else None
