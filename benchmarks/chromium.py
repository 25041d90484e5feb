"""A headless Chromium for tests and pictures of the report, ended with its context."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OPTIONS = (
    "--headless=new", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip


#: Without and with WebGL, which is computed by the processor.
_GRAPHICS = {
    False: ("--disable-gpu",),
    True: ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
}


def missing() -> str:
    """What is not installed; empty if a page can be opened."""
    names = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(names)} not found: apt-get install chromium chromium-driver" if names else ""


@contextlib.contextmanager
def browser(width: int = 1280, height: int = 900, *, dark: bool = False, webgl: bool = False) -> Iterator:
    """A selenium driver of a fresh Chromium that reaches no network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox
        for option in (
            *_OPTIONS,
            *_GRAPHICS[webgl],
            *sandbox,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_page_load_timeout(60)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield driver
        finally:
            driver.quit()


def open_page(driver, path: Path) -> None:
    """Opens a file; from here on the logs of the driver are those of this page."""
    driver.get("about:blank")
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(path.resolve().as_uri())


def screenshot(driver, path: Path, selector: str) -> None:
    """A picture of the first element of a page that a CSS selector finds."""
    from selenium.webdriver.common.by import By

    path.write_bytes(driver.find_element(By.CSS_SELECTOR, selector).screenshot_as_png)
