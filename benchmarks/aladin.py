"""Shows a HiPS in Aladin Lite, which is fetched from npm for that and is no part of the program."""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import chromium

_PACKAGE = "aladin-lite"
_LIMIT_S = 60
_PAGE = """<!DOCTYPE html><body style="margin:0"><div id="sky" style="width:800px;height:600px"></div>
<script type="module">
import A from './aladin.js';
await A.init;
A.aladin('#sky', {survey: location.origin + '/survey', fov: %s, target: '%s %s', cooFrame: 'ICRSd'});
</script></body>"""


@functools.cache
def _package() -> Path:
    """The unpacked npm package; it stays until the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="aladin"))
    subprocess.run(["npm", "pack", _PACKAGE], cwd=folder, check=True, capture_output=True, timeout=_LIMIT_S)
    subprocess.run(["tar", "xzf", next(folder.glob("*.tgz")).name], cwd=folder, check=True)
    return folder / "package"


def version() -> str:
    """Version of Aladin Lite."""
    return str(json.loads((_package() / "package.json").read_text("utf-8"))["version"])


def fault_of(properties: Path, picture: Path | None = None) -> str:
    """Open the survey of a file ``properties`` in Aladin Lite on a server of this machine.

    Parameters
    ----------
    properties : Path
    picture : Path, optional
        PNG of the window to write.

    Returns
    -------
    str
        What went wrong; empty if it asked for tiles of the deepest order, all that are there came, and it drew.
    """
    told = dict(line.split("=", 1) for line in properties.read_text("utf-8").splitlines())
    told = {key.strip(): value.strip() for key, value in told.items()}
    asked: list[tuple[str, int]] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            asked.append((self.path, int(code)))

        def log_message(self, *_):
            pass

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aladin.js").symlink_to(_package() / "dist" / "aladin.js")
        (folder / "survey").symlink_to(properties.parent.resolve())
        place = (f"{float(told['hips_initial_fov']) / 2:.4f}", told["hips_initial_ra"], told["hips_initial_dec"])
        (folder / "index.html").write_text(_PAGE % place)
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with chromium.browser(webgl=True) as driver:
                driver.get(f"http://127.0.0.1:{server.server_port}/index.html")
                drawn = _colours_when_drawn(driver)
                if picture is not None:
                    driver.save_screenshot(str(picture))
        finally:
            server.shutdown()
    deepest = f"/Norder{told['hips_order']}/"
    came = [path for path, code in asked if deepest in path and code == 200]
    lost = [path for path, code in asked if code != 200 and deepest not in path and "/survey/" in path]
    if not came:
        return "it loads no tile"
    return f"{lost[0]} is missing" if lost else "" if drawn > 20 else "nothing is drawn"


def _colours_when_drawn(driver) -> int:
    """Number of colours in the window, as soon as it does not change any more."""
    import io

    import numpy as np
    from PIL import Image

    before, end = -1, time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        time.sleep(3.0)
        with Image.open(io.BytesIO(driver.get_screenshot_as_png())) as image:
            part = np.asarray(image.convert("RGB"))[100:500, 150:650]
        colours = len(np.unique(part.reshape(-1, 3), axis=0))
        if colours == before and colours > 20:
            return colours
        before = colours
    return before
