"""The folder page while a watch is at work: the list, the map and the advice follow the subs that have arrived."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .engine import Engine
from .messages import FolderContents

#: A look waits this many times as long as the one before took: headers of thousands of subs are no small work.
_REST = 5.0


class WatchedFolder:
    """Looks into a folder that is watched, in a process of its own, after subs have joined the mosaic."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._looked_for = 0
        self._since = self._next = 0.0

    def follow(self, in_mosaic: int, order: Mapping[str, Any]) -> None:
        """Look if the mosaic holds other subs than at the last look; `order` is that of a look."""
        if self._engine is None and in_mosaic != self._looked_for and time.monotonic() >= self._next:
            self._looked_for, self._since = in_mosaic, time.monotonic()
            self._engine = Engine(order)

    def poll(self) -> FolderContents | None:
        """What a look has found since the last call; None without one."""
        if self._engine is None:
            return None
        found = [one for one in self._engine.take() if isinstance(one, FolderContents)]
        if not self._engine.is_at_work:
            self._engine.close()
            self._engine = None
            self._next = time.monotonic() + _REST * (time.monotonic() - self._since)
        return found[-1] if found else None

    def leave(self) -> list[Engine]:
        """Forget the watch; returns the process of a look that was asked to end and has still to be closed."""
        left = [self._engine] if self._engine is not None else []
        for engine in left:
            engine.cancel()
        self._engine, self._looked_for, self._next = None, 0, 0.0
        return left
