"""What is kept between starts: presets by name, and the state of the window."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.fits.writer import atomic_path
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import build_settings, load_settings_file

_WINDOW_NAME = "window.json"


def config_folder() -> Path:
    """Return the system's folder for a user's configuration; ``ZEMOSAIC_CONFIG`` names another one."""
    named = os.environ.get("ZEMOSAIC_CONFIG")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "ZeMosaic"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "ZeMosaic"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "zemosaic"


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(dict(values), indent=2) + "\n", encoding="ascii")


class Presets:
    """Settings by name, each a file that ``zemosaic grid --settings`` takes too.

    Parameters
    ----------
    folder : Path
        Made when the first one is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Names of all presets in alphabetical order."""
        paths = self._folder.glob("*.json") if self._folder.is_dir() else ()
        return sorted((unquote(path.stem) for path in paths if not path.name.startswith(".")), key=str.casefold)

    def path(self, name: str) -> Path:
        """The file of a preset; any name makes a file name that every system takes."""
        safe = quote(name.strip(), safe=" -_()").replace(".", "%2E")
        if not safe or len(safe) > 200:
            raise SettingsError(say("A preset needs a name of 1 to 60 letters."))
        return self._folder / f"{safe}.json"

    def save(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep settings under a name, whole or not at all; an older preset of that name is replaced."""
        _write(self.path(name), values)

    def load(self, name: str) -> dict[str, Any]:
        """The settings of a preset; `SettingsError` if its file cannot be read or holds what cannot be used."""
        path = self.path(name)
        values = load_settings_file(path)
        build_settings(values, file_name=str(path))
        return values

    def delete(self, name: str) -> None:
        """Forget a preset."""
        self.path(name).unlink(missing_ok=True)


class Remembered:
    """Folders, mode, language and geometry of the last window; a damaged file is ignored."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _WINDOW_NAME
        try:
            self._values = load_settings_file(self._path)
        except SettingsError:  # not there yet, or damaged
            self._values = {}

    def get(self, name: str) -> str:
        """A remembered text, empty if there is none."""
        value = self._values.get(name, "")
        return value if isinstance(value, str) else ""

    def keep(self, **values: str) -> None:
        """Remember these texts too."""
        self._values |= values
        _write(self._path, self._values)
