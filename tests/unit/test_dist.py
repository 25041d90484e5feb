"""What is shipped: every file of the packages is in a pattern of pyproject.toml, and a missing one is noticed."""

from __future__ import annotations

import importlib.util
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check_dist():
    spec = importlib.util.spec_from_file_location("check_dist", ROOT / "tools" / "check_dist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_of_the_packages_is_shipped():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    data = [f"{package.replace('.', '/')}/{text}" for package, texts in tools["package-data"].items() for text in texts]
    modules = {f"{name}.py" for name in tools["py-modules"]}
    left = [
        name
        for name in check_dist().shipped()
        if name not in modules
        and not (name.endswith(".py") and "/" in name)
        and not any(PurePosixPath(name).match(text) for text in data)
    ]
    assert left == []
    assert {"zemosaic_engine/py.typed", "zemosaic_app/py.typed"} <= check_dist().shipped()


@pytest.fixture
def source(tmp_path):
    """A source of three modules, a table, a marker and two licences; the names that it ships."""
    root = tmp_path / "source"
    names = ["grid_mode.py", "zemosaic_app/cli.py", "zemosaic_app/texts/en.toml", "zemosaic_engine/py.typed"]
    for name in [
        *names,
        "LICENSE",
        "LICENSES/a.txt",
        "pyproject.toml",
        "README.md",
        "setup.py",
        "docs/images/a.png",
        "docs/inputs.md",
        "docs/screenshots.py",
        "zemosaic_app/__pycache__/cli.pyc",
    ]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root, [*names, "LICENSE", "LICENSES/a.txt"]


def pack(root, names, folder):
    """A wheel and an sdist of these files, as setuptools lays them out."""
    wheel, sdist = folder / "z-1.whl", folder / "z-1.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            inside = f"z-1.dist-info/licenses/{name}" if name.startswith("LICENSE") else name
            archive.write(root / name, inside)
        for name in ("docs/images/a.png", "docs/inputs.md"):
            archive.write(root / name, f"zemosaic_app/{name}")
        archive.writestr("z-1.dist-info/METADATA", "")
    with tarfile.open(sdist, "w:gz") as archive:
        for name in [*names, "pyproject.toml", "README.md", "setup.py", "docs/images/a.png", "docs/inputs.md"]:
            archive.add(root / name, f"z-1/{name}")
    return wheel, sdist


def test_what_is_missing_or_too_many_is_named(source, tmp_path):
    root, names = source
    check = check_dist()
    wheel, sdist = pack(root, names, tmp_path)
    assert check.differences(check.in_wheel(wheel), check.in_sdist(sdist), root) == []
    (root / "zemosaic_app" / "new.css").write_text("")
    (root / "LICENSES" / "a.txt").unlink()
    (root / "docs" / "new.md").write_text("")
    assert check.differences(check.in_wheel(wheel), check.in_sdist(sdist), root) == [
        "the wheel lacks zemosaic_app/docs/new.md",
        "the wheel lacks zemosaic_app/new.css",
        "the wheel has LICENSES/a.txt, which is not in the source",
        "the sdist lacks docs/new.md",
        "the sdist lacks zemosaic_app/new.css",
    ]
