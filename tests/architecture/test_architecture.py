"""The rules of ARCHITECTURE.md, read from the syntax trees; imports inside functions count."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = (
    "classic_mode",
    "grid_mode",
    "zemosaic_stack_core",
    "zemosaic_utils",
    "zemosaic_worker",
    "zemosaic_patch",
    "zemosaic_compare",
    "zemosaic_export",
    "zemosaic_fetch",
    "zemosaic_watch",
)
MODULES = sorted(
    [*ROOT.glob("zemosaic_*/**/*.py"), *(ROOT / f"{name}.py" for name in RECIPES if (ROOT / f"{name}.py").exists())]
)
NAMES = [path.relative_to(ROOT).as_posix() for path in MODULES]

TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def drawn_arrows(first):
    """The block of ARCHITECTURE.md whose first line begins with this name: what each name may import, in its order."""
    (block,) = (
        block for block in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL) if re.match(rf"{first} +->", block)
    )
    arrows = {}
    for line in block.splitlines():
        name, _, targets = line.partition("->")
        arrows[name.strip()] = [target.strip() for target in targets.split(",") if target.strip()]
    return arrows


TOP = drawn_arrows("zemosaic_engine")
PACKAGES = drawn_arrows("kernels")
OURS = set(TOP)

# One door per heavy library: where it may be imported at all.
DOORS = {
    "cupy": ["zemosaic_engine/machine/backend.py"],
    "rawpy": ["zemosaic_engine/subs/camera_raw.py"],
    "numba": [
        "zemosaic_engine/kernels/compiled.py",
        "zemosaic_engine/kernels/linked.py",
        "zemosaic_engine/kernels/simd_llvm.py",
    ],
    "threadpoolctl": ["zemosaic_engine/machine/threads.py"],
    "reproject": ["zemosaic_engine/mosaic/coadd.py", "zemosaic_engine/mosaic/hips.py"],
    "PIL": ["zemosaic_utils.py"],
    "tifffile": ["zemosaic_export.py"],
    "astroquery": ["zemosaic_fetch.py"],
    "requests": ["zemosaic_fetch.py"],
    "rich": ["zemosaic_app/*"],
    "argcomplete": ["zemosaic_app/completion.py"],
    "jinja2": ["zemosaic_app/report/*"],
    "markdown_it": ["zemosaic_app/manual.py"],
    "pydantic": ["zemosaic_engine/settings.py", "zemosaic_engine/simulate/*"],
    "array_api_compat": ["zemosaic_engine/machine/backend.py", "zemosaic_engine/kernels/reference/*"],
    "dask": ["zemosaic_engine/executors/cluster.py"],
    "distributed": ["zemosaic_engine/executors/cluster.py"],
    "PySide6": ["zemosaic_app/qt/*"],
    "tkinter": ["zemosaic_app/tk/*"],
    "tkinterdnd2": ["zemosaic_app/tk/dropping.py"],
}

# Libraries that `zemosaic --help` must not wait for.
HEAVY = (
    "numpy",
    "astropy",
    "scipy",
    "numba",
    "reproject",
    "rich",
    "PIL",
    "jinja2",
    "markdown_it",
    "tifffile",
    "astroquery",
    "argcomplete",
)

LONGEST_FUNCTION = 90


def parse(name):
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


def imported_modules(tree, name):
    """Dotted names of every module imported anywhere in `tree`, relative ones resolved."""
    package = name.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module
            else:
                base = package[: len(package) - node.level + 1]
                yield ".".join([*base, *([node.module] if node.module else [])])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "import_module",
            "importlib.import_module",
        ):
            argument = node.args[0]
            yield argument.value if isinstance(argument, ast.Constant) else "an unknown module"


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def top_of(name):
    """The top-level module or package of a file."""
    return name.split("/")[0].removesuffix(".py")


def package_of(name):
    """The package of the engine that a file is in; None for all others."""
    parts = name.split("/")
    return parts[1] if parts[0] == "zemosaic_engine" and len(parts) > 2 else None


def our_imports(tree, name):
    """Dotted names of our own modules that are imported; what is taken from a package may be a module of it."""
    package = name.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            yield from ([*base, alias.name] for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)


def package_imports(tree, name):
    """Packages of the engine, other than its own, that a file imports from."""
    for path in our_imports(tree, name):
        if path[0] == "zemosaic_engine" and len(path) > 1 and path[1] in PACKAGES and path[1] != package_of(name):
            yield path[1]


def wrong_imports(tree, name):
    """Imports that ARCHITECTURE.md does not draw, or that do not go through the door of a library."""
    for module in imported_modules(tree, name):
        top = module.split(".")[0]
        if top in OURS | {"an unknown module"} and top not in [top_of(name), *TOP[top_of(name)]]:
            yield module
        if top in DOORS and not matches(name, DOORS[top]):
            yield module
    if package_of(name) is not None:
        yield from (other for other in package_imports(tree, name) if other not in PACKAGES[package_of(name)])


def broad_handlers(tree):
    """Lines of ``except:``, ``except Exception`` and handlers that do nothing and say nothing of why."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = ast.unparse(node.type) if node.type is not None else "BaseException"
            if {"Exception", "BaseException"} & set(names.strip("()").replace(",", " ").split()):
                yield node.lineno


def long_functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{node.name} ({length} lines)"


def test_the_rules_are_applied_to_the_whole_program():
    assert {"zemosaic_engine/settings.py", "zemosaic_app/cli.py", "zemosaic_worker.py"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_imports_run_down_and_through_the_doors(name):
    assert not list(wrong_imports(parse(name), name))


@pytest.mark.parametrize("name", NAMES)
def test_no_broad_except(name):
    assert not list(broad_handlers(parse(name)))


@pytest.mark.parametrize("name", NAMES)
def test_functions_fit_on_a_screen(name):
    assert not list(long_functions(parse(name)))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("zemosaic_engine/subs/stack_plan.py", "import zemosaic_worker"),
        ("zemosaic_engine/subs/stack_plan.py", "def f():\n    from grid_mode import build_mosaic"),
        ("zemosaic_engine/photometry/sky.py", "import numba"),
        ("zemosaic_engine/subs/stack_plan.py", "from ... import zemosaic_app\nimport rich.progress"),
        ("grid_mode.py", "from zemosaic_utils import write_preview"),
        ("grid_mode.py", "import importlib\nimportlib.import_module('zemosaic_utils')"),
        ("zemosaic_app/cli.py", "import grid_mode"),
        ("zemosaic_engine/subs/frames.py", "from ..mosaic.files import write_mosaic"),
        ("zemosaic_engine/subs/frames.py", "def f():\n    from .. import photometry"),
    ],
)
def test_a_wrong_import_would_be_found(name, code):
    assert list(wrong_imports(ast.parse(code), name))


def test_a_broad_except_and_a_long_function_would_be_found():
    assert list(broad_handlers(ast.parse("try:\n    f()\nexcept (OSError, Exception):\n    g()")))
    assert list(broad_handlers(ast.parse("try:\n    f()\nexcept:\n    g()")))
    assert not list(broad_handlers(ast.parse("try:\n    f()\nexcept OSError:\n    g()")))
    assert list(long_functions(ast.parse("def f():\n" + "    x = 1\n" * LONGEST_FUNCTION)))


def test_the_command_line_starts_light():
    code = (
        "import sys\n"
        "from zemosaic_app import cli, grammar\n"
        "grammar.build_parser().format_help()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_kit_loads_heavy_libraries_when_it_uses_them():
    """A host imports `grid_mode` to ask whether there is one: NumPy and astropy's FITS and WCS are all it waits for."""
    later = ("numba", "scipy", "reproject", "cupy", "PIL", "rich", "dask", "threadpoolctl", "pandas")
    code = f"import sys, grid_mode\nprint([name for name in {later!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_kit_stands_alone():
    """`grid_mode`, `zemosaic_stack_core` and the engine load no module of the application."""
    ours = ("zemosaic_utils", "zemosaic_worker", "zemosaic_app")
    code = f"import sys, grid_mode\nprint([name for name in sys.modules if name.split('.')[0] in {ours!r}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in NAMES if name.count("/") == 1 and "__init__" not in name])
def test_architecture_md_knows_every_module_without_a_package(name):
    assert f"`{Path(name).stem}`" in TEXT


def test_architecture_md_knows_every_package():
    packages = {path.parent.name for path in (ROOT / "zemosaic_engine").glob("*/__init__.py")}
    assert packages == set(PACKAGES)
    assert all(f"`{package}/`" in TEXT for package in packages)
    assert {top_of(name) for name in NAMES} == set(TOP)


@pytest.mark.parametrize("arrows", [TOP, PACKAGES], ids=["top-level modules", "packages"])
def test_no_arrow_climbs(arrows):
    """Every name imports from names above it alone, so that there is no circle either."""
    above = []
    for name, targets in arrows.items():
        assert set(targets) <= set(above), f"{name} imports {set(targets) - set(above)}"
        above.append(name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_arrow_between_packages_exists(package):
    found = {other for name in NAMES if package_of(name) == package for other in package_imports(parse(name), name)}
    assert found == set(PACKAGES[package])


@pytest.mark.parametrize("top", TOP)
def test_every_arrow_between_top_level_modules_exists(top):
    modules = [module for name in NAMES if top_of(name) == top for module in imported_modules(parse(name), name)]
    assert {module.split(".")[0] for module in modules} & OURS - {top} == set(TOP[top])
