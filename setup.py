"""Builds the package; everything but the manual is declared in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithManual(build_py):
    """Puts the documents beside the modules, where `zemosaic_app.manual` finds them."""

    def run(self) -> None:
        """Build the modules, and copy the documents unless the source is used where it is."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "zemosaic_app" / "docs"
        shutil.rmtree(target, ignore_errors=True)
        (target / "images").mkdir(parents=True)
        for path in [*Path("docs").glob("*.md"), *Path("docs").glob("images/*.png")]:
            shutil.copyfile(path, target / path.relative_to("docs"))


setup(cmdclass={"build_py": BuildWithManual})
