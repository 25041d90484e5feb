"""Larger surveys, a screen of its own, and a presenter for the tests of the windows."""

import gc
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from screens import screen_of

from zemosaic_app.presenter.mosaic_preview import MosaicPreview
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Collect the windows of a test on this thread, as soon as nothing holds them.

    A window is a cycle of references. Left to chance, a later test's thread would collect it, and Tcl aborts the
    process when an interpreter is deleted by another thread than its own. pytest calls this for the tests of all
    folders; collecting after each of them would take most of the time of a run.
    """
    result = yield
    if Path(__file__).parent in item.path.parents:
        gc.collect()
    return result


@pytest.fixture(scope="session")
def longer_survey(tmp_path_factory):
    """One whose run is long enough to be watched, and cancelled in the middle."""
    folder = tmp_path_factory.mktemp("gui") / "longer"
    simulate_survey(folder, PRESETS["small"], seed=1)
    return folder


@pytest.fixture
def striped_preview(tmp_path):
    """Of a large mosaic whose columns alternate: one grey in the picture of the whole, stripes at full size."""
    shape = (2100, 2600)
    image = np.random.default_rng(1).normal(500.0, 20.0, (3, *shape)).astype(np.float32)
    image[:, :, ::2] += 300.0
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-3, "CDELT2": 1e-3})
    hdus = [fits.PrimaryHDU(image, header), fits.ImageHDU(np.ones_like(image), name="WEIGHT")]
    hdus.append(fits.ImageHDU(np.full(shape, 9, np.uint16), name="COVERAGE"))
    fits.HDUList(hdus).writeto(tmp_path / "mosaic.fits")
    preview = MosaicPreview(tmp_path)
    preview.finish(tmp_path / "mosaic.fits")
    return preview


@pytest.fixture
def damaged_survey(survey, tmp_path):
    """The same with a file that was cut off and one that holds no picture."""
    folder = shutil.copytree(survey, tmp_path / "damaged")
    first, second = sorted(folder.glob("*.fit*"))[:2]
    first.write_bytes(first.read_bytes()[:100_000])
    second.write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def screen():
    """Name of a display that nobody sees."""
    with screen_of(2600, 1700) as name:
        yield name


@pytest.fixture
def make_presenter(tmp_path):
    made = []

    def make(language="en", level="expert"):
        made.append(Presenter(tmp_path / "config", language))
        made[-1].choose_level(level)
        return made[-1]

    yield make
    for presenter in made:
        presenter.close()


#: Names of files and folders, which no language translates.
FILES = ("mosaic.fit", "mosaic_grid.fits", "mosaic_grid.png", "rejected_subs.csv", "report.html", "fits",
         str(Path.home() / "ZeMosaic demo"))  # fmt: skip


class PseudoTexts:
    """Texts that can be told from texts that nobody translated: in letters of twice the width."""

    @staticmethod
    def entries():
        from zemosaic_app.presenter.texts import read_entries

        return {key: PseudoTexts.disguised(text) for key, text in read_entries("fr").items()}

    @staticmethod
    def disguised(text):
        """All letters but those of the fields in braces."""
        parts = re.split(r"(\{[^{}]*\})", text)
        parts[::2] = [re.sub("[A-Za-z]", lambda found: chr(ord(found[0]) + 0xFEE0), part) for part in parts[::2]]
        return "".join(parts)

    @classmethod
    def use_in(cls, presenter):
        from zemosaic_app.presenter.texts import Texts

        presenter.texts = Texts("pseudo", cls.entries())
        presenter.form.use(presenter.texts)

    @staticmethod
    def is_translated(text, names=()):
        """Without a letter of the usual width but in names: of languages, files, channels, and places on the sky."""
        text = re.sub(r"<[^>]*>|&#x27;", "", text)  # a table of keys is markup
        for name in sorted((*names, *FILES), key=len, reverse=True):
            text = text.replace(name, "")
        rest = re.sub(r"\d+h\d+m[\d.]+s|\d\.?\d*e[+-]\d+|\d x\b( \d)?|\b[RGB] :|\b\d+ (h|min|s)\b", "", text)
        return rest in ("English", "Deutsch", "Español", "Français", *"RGB") or not re.search("[A-Za-z]", rest)


@pytest.fixture
def pseudo():
    return PseudoTexts


@pytest.fixture
def wait_for():
    def wait(turn, until, seconds=300.0):
        """Turn the loop of a window until something is true; the most that one turn computed, in seconds.

        Those are of this thread alone and leave out what others do with the machine: 0.05 at most where it was
        measured, ten times of which would be felt.
        """
        end = time.monotonic() + seconds
        busiest_s = 0.0
        while not until():
            assert time.monotonic() < end, "waited too long"
            cpu = time.thread_time()
            turn()
            busiest_s = max(busiest_s, time.thread_time() - cpu)
            time.sleep(0.01)
        return busiest_s

    return wait
