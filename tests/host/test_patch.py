"""The kit goes into a host and comes out again; what happens in between may be interrupted anywhere."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from stand_in import make_host, run_host, tree

import zemosaic_patch
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_patch import BACKUP_NAME, MANIFEST_NAME, Environment, check_environment, kit_files, patch, revert

ROOT = Path(__file__).resolve().parents[2]


def quiet(text):
    pass


def command(*arguments):
    line = [sys.executable, "-m", "zemosaic_app.cli", "patch", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def host(tmp_path):
    return make_host(tmp_path)


@pytest.fixture
def small_kit(tmp_path, monkeypatch):
    """A kit of four files in the place of the real one: its contents can be changed, and every step is quick."""
    source = tmp_path / "kit"
    names = ("grid_mode.py", "zemosaic_stack_core.py", "zemosaic_engine/__init__.py", "zemosaic_engine/geometry.py")
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"# {name}, first version\n")

    def found():
        return {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*.py"))}

    monkeypatch.setattr(zemosaic_patch, "kit_files", found)
    return source


def test_the_command_puts_the_kit_in_and_every_byte_comes_back(host):
    before = tree(host)
    done = command(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert "replace grid_mode.py" in done.stdout
    assert "has all that it needs" in done.stdout
    for name, path in kit_files().items():
        assert (host / name).read_bytes() == path.read_bytes()
    assert tree(host)[f"{BACKUP_NAME}/zemosaic_stack_core.py"] == before["zemosaic_stack_core.py"]
    done = command(host, "--revert")
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(host) == before
    assert sorted(path.name for path in host.iterdir() if path.is_dir() and path.name != "__pycache__") == []


def test_a_dry_run_changes_nothing(host, small_kit):
    before = tree(host)
    outcome = patch(host, quiet, dry_run=True)
    assert (outcome.count("replace"), outcome.count("add")) == (2, 2)
    assert tree(host) == before
    patch(host, quiet)
    after = tree(host)
    assert revert(host, quiet, dry_run=True).count("restore") == 2
    assert tree(host) == after


def test_a_second_patch_upgrades_in_place(host, small_kit):
    before = tree(host)
    patch(host, quiet)
    (small_kit / "grid_mode.py").write_text("# second version\n")
    (small_kit / "zemosaic_engine/geometry.py").unlink()
    (small_kit / "zemosaic_engine/novelty.py").write_text("# new\n")
    outcome = patch(host, quiet)
    actions = {step.name: step.action for step in outcome.steps}
    assert actions == {
        "grid_mode.py": "upgrade",
        "zemosaic_stack_core.py": "keep",
        "zemosaic_engine/__init__.py": "keep",
        "zemosaic_engine/novelty.py": "add",
        "zemosaic_engine/geometry.py": "remove",
    }
    assert (host / "grid_mode.py").read_text() == "# second version\n"
    assert not (host / "zemosaic_engine/geometry.py").exists()
    revert(host, quiet)
    assert tree(host) == before


class Interrupted(BaseException):
    """Stands for a kill: nothing in the program catches it."""


@pytest.mark.parametrize("operation", [patch, revert], ids=["patch", "revert"])
@pytest.mark.parametrize("then", [patch, revert], ids=["then_patch", "then_revert"])
def test_any_interruption_is_gone_on_from(tmp_path, small_kit, monkeypatch, operation, then):
    """Stopped before each single rename and removal in turn, then either command brings a whole state."""
    pristine = tree(make_host(tmp_path / "pristine"))
    patched_host = make_host(tmp_path / "patched")
    patch(patched_host, quiet)
    patched = tree(patched_host)
    steps = 0
    while True:
        host = make_host(tmp_path / f"{operation.__name__}-{steps}")
        if operation is revert:
            patch(host, quiet)

        def one_step():
            nonlocal remaining
            if remaining == 0:
                raise Interrupted
            remaining -= 1

        def replace_or_stop(self, target, step=one_step):
            step()
            os.replace(self, target)

        def unlink_or_stop(self, missing_ok=False, step=one_step):
            step()
            if not missing_ok or self.exists():
                os.unlink(self)

        remaining = steps
        with monkeypatch.context() as interrupting:
            interrupting.setattr(Path, "replace", replace_or_stop)
            interrupting.setattr(Path, "unlink", unlink_or_stop)
            try:
                operation(host, quiet)
                finished = True
            except Interrupted:
                finished = False
        if not finished and (host / MANIFEST_NAME).exists():
            then(host, quiet)
            assert tree(host) == (patched if then is patch else pristine)
        if finished:
            break
        steps += 1
    assert steps >= (16 if operation is patch else 12)


def test_a_real_kill_leaves_what_the_next_command_mends(host):
    before = tree(host)
    code = (
        "import os, signal, sys, zemosaic_patch\n"
        "from pathlib import Path\n"
        "count = 0\n"
        "def tell(text):\n"
        "    global count\n"
        "    count += 1\n"
        "    if count == 25: os.kill(os.getpid(), signal.SIGKILL)\n"
        "zemosaic_patch.patch(Path(sys.argv[1]), tell)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, host], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -9
    assert zemosaic_patch.read_manifest(host).state == "patching"
    assert (host / "grid_mode.py").read_bytes() == before["grid_mode.py"][0]  # it comes last
    revert(host, quiet)
    assert tree(host) == before


def test_what_a_user_changed_is_not_destroyed(host, small_kit):
    patch(host, quiet)
    mine = host / "zemosaic_engine/geometry.py"
    mine.write_text("# my own idea\n")
    state = tree(host)
    for operation in (patch, revert):
        with pytest.raises(SettingsError, match=r"zemosaic_engine/geometry\.py was changed .*--keep-changed"):
            operation(host, quiet)
        assert tree(host) == state
    outcome = revert(host, quiet, adopt=True)
    assert outcome.notes == ["zemosaic_engine/geometry.py was changed since and stays as it is"]
    assert mine.read_text() == "# my own idea\n"
    assert not (host / MANIFEST_NAME).exists()


def test_an_update_of_the_host_becomes_its_own(host, small_kit):
    patch(host, quiet)
    (host / "grid_mode.py").write_text("# the host's next version\n")
    with pytest.raises(SettingsError, match="by an update of that ZeMosaic"):
        patch(host, quiet)
    assert patch(host, quiet, adopt=True).count("replace") == 1
    revert(host, quiet)
    assert (host / "grid_mode.py").read_text() == "# the host's next version\n"


def test_files_that_somebody_keeps_beside_the_kit_stay(host, small_kit):
    patch(host, quiet)
    (host / "zemosaic_engine/notes.txt").write_text("mine")
    revert(host, quiet)
    assert (host / "zemosaic_engine/notes.txt").read_text() == "mine"
    assert not (host / "zemosaic_engine/geometry.py").exists()


def test_a_damaged_backup_is_noticed_before_anything_is_touched(host, small_kit):
    patch(host, quiet)
    (host / BACKUP_NAME / "grid_mode.py").write_text("rot")
    state = tree(host)
    with pytest.raises(RunError, match=r"backup .*grid_mode\.py is missing or damaged"):
        revert(host, quiet)
    assert tree(host) == state


def test_what_is_no_host_is_refused(tmp_path, host, small_kit):
    with pytest.raises(SettingsError, match="does not exist"):
        patch(tmp_path / "nowhere", quiet)
    with pytest.raises(SettingsError, match=r"no ZeMosaic: it has no zemosaic_worker\.py"):
        patch(small_kit, quiet)
    with pytest.raises(SettingsError, match="this program itself"):
        patch(ROOT, quiet)
    with pytest.raises(SettingsError, match="nothing to revert"):
        revert(host, quiet)
    (host / "zemosaic_worker.py").write_text("def run_hierarchical_mosaic_process():\n    from . import grid_mode\n")
    with pytest.raises(SettingsError, match="'import grid_mode'"):
        patch(host, quiet)
    (host / "zemosaic_worker.py").write_text("import grid_mode\n")
    with pytest.raises(SettingsError, match="run_hierarchical_mosaic_process"):
        patch(host, quiet)
    done = command(tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_checkout_of_the_host_may_be_named(tmp_path, small_kit):
    inner = make_host(tmp_path / "checkout" / "src")
    assert patch(tmp_path / "checkout", quiet).host == inner


def test_what_the_hosts_python_lacks_is_said(tmp_path, host):
    """A bare virtual environment has none of the libraries."""
    environment = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    done = command(host)
    assert done.returncode == 3
    assert "numba>=0.60" in done.stdout
    assert '-m pip install "numpy>=1.26"' in done.stdout
    assert str(environment) in done.stdout  # found beside the host
    assert command(host, "--python", sys.executable).returncode == 0
    assert command(host, "--python", tmp_path / "no_python").returncode == 2


def test_this_python_lacks_nothing():
    environment = check_environment(Path(sys.executable))
    assert environment.is_sufficient
    assert environment.advice() == []


def third_party_imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_the_list_of_needs_is_what_the_kit_imports():
    core = [path for name, path in kit_files().items() if not name.startswith(f"{zemosaic_patch.KIT_FOLDER}/")]
    found = {name for path in core if path.suffix == ".py" for name in third_party_imports(path)}
    ours = {"grid_mode", "zemosaic_stack_core", "zemosaic_engine", "zemosaic_config"}
    optional, brought_by_numba = {"cupy", "rawpy", "dask", "distributed"}, {"llvmlite"}
    needed = found - set(sys.stdlib_module_names) - ours - optional - brought_by_numba - {"__future__"}
    assert {module for _, module, _ in zemosaic_patch.KIT_NEEDS} == needed
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {f"{distribution}>={oldest}" for distribution, _, oldest in zemosaic_patch.KIT_NEEDS} <= set(declared)


def test_pictures_and_reports_need_no_more_than_is_told(tmp_path, host):
    """Their modules are imported from the host's folder, where every other library is taken away."""
    patch(host, quiet)
    needed = {module for _, module, _ in (*zemosaic_patch.KIT_NEEDS, *zemosaic_patch.PAGE_NEEDS)}
    others = {"rich", "argcomplete", "tifffile", "astroquery", "rawpy", "PySide6", "tkinter", "distributed"}
    assert not others & needed
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[3:])); sys.path[:0] = sys.argv[1:3];"
        "from zemosaic_app import host_pages; print(host_pages.main(['no such run', '100'])); import zemosaic_utils;"
        "print(zemosaic_utils.__file__)"
    )
    places = [host / zemosaic_patch.KIT_FOLDER, host]
    command = [sys.executable, "-I", "-c", code, *places, *sorted(others)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", str(host / zemosaic_patch.KIT_FOLDER / "zemosaic_utils.py")]
    assert done.stderr.startswith("no such run")


@pytest.mark.parametrize(
    ("lacks", "then"),
    [
        (("numpy>=1.26",), "Until then that ZeMosaic finds no Grid Mode."),
        ((), "Until then runs leave no picture and no report.html."),
    ],
)
def test_advice_tells_what_does_not_work_until_libraries_are_installed(lacks, then):
    advice = Environment(Path("python"), (3, 11, 0), lacks, ("jinja2>=3.1",)).advice()
    assert advice[1].endswith(" ".join(f'"{need}"' for need in (*lacks, "jinja2>=3.1")))
    assert advice[2:] == [then]


@pytest.mark.slow
def test_the_kit_is_found_in_an_installed_wheel(tmp_path, host):
    """Built, unpacked where nothing of the checkout is seen, and run from there."""
    source = tmp_path / "src"
    ignore = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", "build", "docs")
    shutil.copytree(ROOT, source, ignore=ignore)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, source]
    subprocess.run(pip, check=True, capture_output=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import zemosaic_patch as z; "
        "from pathlib import Path; print(z.__file__); print(sorted(z.kit_files())); z.patch(Path(sys.argv[2]), print)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, site, host], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(site) in done.stdout
    assert ast.literal_eval(done.stdout.splitlines()[1]) == sorted(kit_files())


def test_before_the_patch_the_host_has_no_grid_mode(tmp_path, host):
    """The stand-in can tell the difference."""
    source = tmp_path / "subs"
    source.mkdir()
    (source / "stack_plan.csv").write_text("file_path\n")
    told = run_host(host, source, tmp_path / "out", "HEAD")
    assert told["messages"][0][:3] == ["classic flow", None, "WARN"]


# --- a manifest or a folder that somebody tampered with


def tampered(host, **files):
    """The manifest of a host with other files in it."""
    path = host / MANIFEST_NAME
    content = json.loads(path.read_text())
    content["files"] |= files
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize("operation", [patch, revert])
@pytest.mark.parametrize(
    "name",
    [
        "../victim.txt", "zemosaic_engine/../../victim.txt", "/absolute", "zemosaic_engine/./wcs.py",
        "zemosaic_worker.py", "zemosaic_engine//etc/passwd", "..\\victim.txt", "zemosaic_engine/..\\..\\victim.txt",
        "C:/victim.txt", "zemosaic_engine", "", "zemosaic_engine/a\0b",
    ],
)  # fmt: skip
def test_a_manifest_reaches_no_file_that_is_not_of_the_kit(host, small_kit, name, operation, adopt):
    patch(host, quiet)
    victim = host.parent / "victim.txt"
    victim.write_text("precious")
    name = str(victim) if name == "/absolute" else name
    digest = hashlib.sha256(b"precious").hexdigest()
    tampered(host, **{name: {"kit": [digest], "own": None}})
    before = tree(host)
    with pytest.raises(RunError, match="is no file of the kit"):
        operation(host, quiet, adopt=adopt)
    assert victim.read_text() == "precious"
    assert tree(host) == before


@pytest.mark.parametrize(
    "entry", [{"kit": ["a" * 63], "own": None}, {"kit": [5], "own": None}, {"kit": [], "own": "x"}]
)
def test_a_manifest_without_sums_is_refused(host, small_kit, entry):
    patch(host, quiet)
    tampered(host, **{"zemosaic_engine/geometry.py": entry})
    with pytest.raises(RunError, match="SHA-256"):
        revert(host, quiet)


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
@pytest.mark.parametrize("operation", [patch, revert])
@pytest.mark.parametrize(
    "link",
    [
        "zemosaic_engine",
        BACKUP_NAME,
        f"{BACKUP_NAME}/zemosaic_engine",
        "zemosaic_engine/__pycache__",
        "__pycache__",
        "zemosaic_engine/geometry.py",
    ],
)
def test_nothing_is_written_or_removed_through_a_link(host, small_kit, link, operation):
    patch(host, quiet)
    place, outside = host / link, host.parent / "outside"
    if place.exists():
        place.rename(outside)
    else:
        outside.mkdir()
    if outside.is_dir():
        (outside / "grid_mode.cpython-311.pyc").write_text("precious")
        (outside / "wcs.cpython-311.pyc").write_text("precious")
    place.parent.mkdir(exist_ok=True, parents=True)
    place.symlink_to(outside)
    (small_kit / "zemosaic_engine/geometry.py").write_text("# second version\n")
    before, there = tree(host), tree(outside) if outside.is_dir() else outside.read_bytes()
    with pytest.raises(SettingsError, match="is a link, which leads elsewhere"):
        operation(host, quiet)
    assert tree(host) == before
    assert (tree(outside) if outside.is_dir() else outside.read_bytes()) == there
