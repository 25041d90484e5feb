"""A stand-in for an existing ZeMosaic, written from its interface: what it calls, what it listens to.

Its folder is called ``zemosaic``, is itself a package, and its parent is first on ``sys.path``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_START = """
import json
import multiprocessing
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(FOLDER))


def main():
    source, output, variant, told = sys.argv[1:]
    import zemosaic
    import zemosaic_worker

    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(
        target=zemosaic_worker.run_hierarchical_mosaic_process, args=(queue, source, output, variant), daemon=True
    )
    process.start()
    messages = []
    while not messages or messages[-1][0] != "PROCESS_DONE":
        messages.append(queue.get(timeout=500))
    process.join()
    with open(told, "w", encoding="utf-8") as file:
        json.dump({"messages": messages, "package": os.path.abspath(zemosaic.__file__)}, file)
    return process.exitcode


if __name__ == "__main__":
    sys.exit(main())
"""

_WORKER = """
import logging
import multiprocessing
import sys
import types

try:
    import grid_mode
except Exception:
    grid_mode = None
    GRID_MODE_AVAILABLE = False
else:
    GRID_MODE_AVAILABLE = True

import zemosaic_config


def run_hierarchical_mosaic_process(queue, source, output, variant):
    import zemosaic  # what this name means here must be the host

    def progress_callback(message, progress=None, level="INFO", **kwargs):
        if level != "DEBUG":
            queue.put((str(message), progress, level, kwargs))

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.levelname)
    logging.getLogger("ZeMosaicWorker.grid_mode").addHandler(handler)
    logging.getLogger("ZeMosaicWorker.grid_mode").setLevel(logging.DEBUG)
    config = zemosaic_config.load_config()
    try:
        if not GRID_MODE_AVAILABLE or not grid_mode.detect_grid_mode(source):
            progress_callback("classic flow", None, "WARN")
        else:
            extra = {"zconfig": types.SimpleNamespace(**config)} if variant == "HEAD" else {}
            grid_mode.run_grid_mode(
                input_folder=source, output_folder=output, progress_callback=progress_callback,
                stack_norm_method="linear_fit", stack_weight_method="noise_variance", stack_reject_algo="kappa_sigma",
                stack_kappa_low=3.0, stack_kappa_high=3.0, winsor_limits=(0.05, 0.05), stack_final_combine="mean",
                apply_radial_weight=False, radial_feather_fraction=0.8, radial_shape_power=2.0,
                save_final_as_uint16=True, legacy_rgb_cube=False, grid_rgb_equalize=True, **extra,
            )
    except Exception as error:
        progress_callback(f"run failed: {error}", None, "ERROR")
        if variant == "Dec":
            progress_callback("classic flow", None, "WARN")
    kit = ("grid_mode", "zemosaic_stack_core", "zemosaic_engine")
    files = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in kit}
    daemonic = multiprocessing.current_process().daemon
    queue.put(("PROCESS_DONE", None, "INFO", {
        "files": files, "daemonic": daemonic, "package": zemosaic.__file__,
        "children": [process.name for process in multiprocessing.active_children()], "logged": sorted(set(lines)),
    }))
"""

_CONFIG = """
import json
import os


def load_config():
    with open(os.path.join(os.path.dirname(__file__), "settings.json"), encoding="utf-8") as file:
        return json.load(file)
"""

_OLD_GRID_MODE = """
import zemosaic_stack_core


def detect_grid_mode(input_folder):
    return False


def run_grid_mode(input_folder, output_folder, **kwargs):
    raise RuntimeError("the host's own Grid Mode")
"""


def make_host(parent: Path, **settings) -> Path:
    """Write a host into ``parent/zemosaic`` with these settings on disk; its own Grid Mode finds nothing."""
    folder = parent / "zemosaic"
    folder.mkdir(parents=True)
    files = {
        "__init__.py": "",
        "run_zemosaic.py": _START,
        "zemosaic_worker.py": _WORKER,
        "zemosaic_config.py": _CONFIG,
        "zemosaic_gui_qt.py": "",
        "zemosaic_utils.py": "HOST = True\n",
        "grid_mode.py": _OLD_GRID_MODE,
        "zemosaic_stack_core.py": "HOST = True\r\n",  # its line ends must survive
        "settings.json": json.dumps({"use_gpu_grid": False, **settings}),
    }
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return folder


def run_host(folder: Path, source: Path, output: Path, variant: str) -> dict:
    """Start the host as its user does, on a folder of subs; everything that reached its queue."""
    told = output.parent / f"{output.name}.json"
    command = [sys.executable, folder / "run_zemosaic.py", source, output, variant, told]
    done = subprocess.run(command, cwd=output.parent, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text(encoding="utf-8"))


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and permissions of every file below a folder, caches of Python left out."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
