"""Random faults that change nothing that anybody can see, each with the reason.

They are looked at, not guessed: whatever a user could notice gets a test instead.
"""

from __future__ import annotations

from typing import NamedTuple


class Harmless(NamedTuple):
    """A fault by its text, and why no test should notice it."""

    file: str
    old: str
    new: str
    why: str


HARMLESS = (
    Harmless(
        "zemosaic_engine/photometry/stars.py", "0.002", "(0.004)",
        "a floor under the errors of bright stars, far below the scatter that their fits learn",
    ),
    Harmless(
        "zemosaic_engine/subs/tiff_files.py",
        "height * width * samples * dtype.itemsize > _MAX_GROWTH[_PACKED[code]] * source.size",
        "(height * width * samples * dtype.itemsize >= _MAX_GROWTH[_PACKED[code]] * source.size)",
        "a file that holds exactly as much as its packing can",
    ),
    Harmless(
        "zemosaic_engine/survey/measure.py", "500", "(501)",
        "the number of cells of a sub that is aimed at; their side is rounded to whole pixels",
    ),
    Harmless(
        "zemosaic_engine/mosaic/sub_depth.py", "figures.gain[:, channel] > 0.0", "(figures.gain[:, channel] >= 0.0)",
        "no gain is 0: it is the exponential of what is solved for",
    ),
    Harmless(
        "zemosaic_engine/photometry/main_sequence.py", "0.7", "(1.4)",
        "a start value that the iteration forgets",
    ),
    Harmless(
        "zemosaic_engine/fits/streams.py", "file.flush()", "pass",
        "decides how soon pixels reach the disk, not which: the end of the writer flushes again",
    ),
    Harmless(
        "zemosaic_engine/simulate/truth.py", "5.0", "(10.0)",
        "how far around saturated stars a comparison with the truth asks for no value",
    ),
)  # fmt: skip
