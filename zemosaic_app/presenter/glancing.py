"""Quick looks at the subs of a list: a process beside the window makes pictures and figures as they are needed."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zemosaic_engine.errors import SubError
from zemosaic_engine.names import name_on_disk
from zemosaic_engine.subs.frames import read_sub
from zemosaic_engine.subs.glance import glance_at
from zemosaic_utils import png_of, stretch

from .engine import Engine
from .messages import SubGlance
from .sub_list import SubList

SMALL_PX, LARGE_PX = 96, 1000
# A folder that is only passed by is not looked at.
_AFTER_S = 1.5
# Pictures of subs are small and seen in passing: their sky is a middle grey, on which clouds and trails stand out.
_LIGHTER = np.rint(255.0 * (np.arange(256) / 255.0) ** 0.6).astype(np.uint8)


def glance_message(folder: Path, name: str, *, is_large: bool = False) -> SubGlance:
    """Look at one sub; without a picture if its file cannot be read."""
    try:
        sub = read_sub(folder / name_on_disk(name))
        glance = glance_at(sub, LARGE_PX if is_large else SMALL_PX)
    except (SubError, OSError):  # it may have gone since; the next look at the folder says why
        return SubGlance(name, is_large=is_large)
    picture = base64.b64encode(png_of(_LIGHTER[stretch(glance.picture)])).decode("ascii")
    return SubGlance(name, picture, glance.fwhm_px, glance.stars, glance.sky_adu, is_large)


class Glancer:
    """Looks at the subs of a list while a window shows it, those in view first.

    Parameters
    ----------
    subs : SubList
        Takes what is found.
    """

    def __init__(self, subs: SubList) -> None:
        self._subs = subs
        self._engine: Engine | None = None
        self._leaving: list[Engine] = []
        self._folder: Path | None = None
        self._seen: set[str] = set()
        self._first: list[str] = []
        self._since = 0.0
        self._asked_large: set[str] = set()
        self.large: dict[str, str] = {}

    def follow(self, folder: Path, in_view: Sequence[str]) -> None:
        """Look at the subs of a folder, and at those that are in view first."""
        if folder != self._folder:
            self.stop()
            self._folder, self._since = folder, time.monotonic()
            self._seen, self.large, self._asked_large = set(), {}, set()
        waiting = [name for name in in_view if name not in self._seen]
        if self._engine is None and waiting and time.monotonic() - self._since > _AFTER_S:
            self._start()
        elif self._engine is not None and waiting and waiting != self._first:
            self._engine.ask({"first": waiting})
        self._first = waiting

    def ask_large(self, name: str) -> None:
        """Ask for the large picture of a sub; it comes into `large`."""
        if self._folder is None or name in self._asked_large:
            return
        if self._engine is None:
            self._start()
        if self._engine is not None:
            self._asked_large.add(name)
            self._engine.ask({"large": name})

    def poll(self) -> bool:
        """Take in what was found; True if there is something new."""
        for engine in [engine for engine in self._leaving if not engine.is_at_work]:
            engine.close()
            self._leaving.remove(engine)
        for engine in self._leaving:
            engine.take()  # nobody wants to hear it
        found = [one for one in self._engine.take() if isinstance(one, SubGlance)] if self._engine is not None else []
        for glance in found:
            if glance.is_large:
                self.large[glance.name] = glance.picture
            else:
                self._seen.add(glance.name)
                self._subs.glanced(glance)
        return bool(found)

    def stop(self) -> None:
        """Look at nothing more, without waiting for the process to end."""
        if self._engine is not None:
            self._engine.cancel()
            self._leaving.append(self._engine)
        self._engine, self._first, self._asked_large = None, [], set(self.large)

    def close(self) -> None:
        """End the process; returns when it has ended."""
        self.stop()
        for engine in self._leaving:
            engine.close()
        self._leaving = []

    def _start(self) -> None:
        names = [row.name for row in self._subs.visible if row.name not in self._seen]
        self._engine = Engine({"job": "glance", "input": str(self._folder), "names": names})
