"""Random faults that change nothing that anybody can see, each with the reason.

They are looked at, not guessed: whatever a user could notice gets a test instead.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.line_map import ROOT
from benchmarks.mutate import Mutant


class Harmless(NamedTuple):
    """A fault by its text, and why no test should notice it.

    `line` is a part of the line that it is in: a number by itself stands in many places of a file.
    """

    file: str
    old: str
    new: str
    why: str
    line: str = ""

    def is_it(self, mutant: Mutant) -> bool:
        """True for this fault, wherever its line has moved."""
        if (mutant.file, mutant.old, mutant.new) != (self.file, self.old, self.new):
            return False
        lines = (ROOT / self.file).read_text(encoding="utf-8").splitlines()
        return self.line in lines[mutant.line - 1]


HARMLESS = (
    Harmless(
        "zemosaic_engine/photometry/stars.py", "0.002", "(0.004)",
        "a floor under the errors of bright stars, far below the scatter that their fits learn", line="np.hypot(error",
    ),
    Harmless(
        "zemosaic_engine/subs/tiff_files.py",
        "height * width * samples * dtype.itemsize > _MAX_GROWTH[_PACKED[code]] * source.size",
        "(height * width * samples * dtype.itemsize >= _MAX_GROWTH[_PACKED[code]] * source.size)",
        "a file that holds exactly as much as its packing can",
    ),
    Harmless(
        "zemosaic_engine/survey/measure.py", "500", "(501)",
        "the number of cells of a sub that is aimed at; their side is rounded to whole pixels", line="_CELLS_A_SUB",
    ),
    Harmless(
        "zemosaic_engine/mosaic/sub_depth.py", "figures.gain[:, channel] > 0.0", "(figures.gain[:, channel] >= 0.0)",
        "no gain is 0: it is the exponential of what is solved for",
    ),
    Harmless(
        "zemosaic_engine/photometry/main_sequence.py", "0.7", "(1.4)",
        "a start value that the iteration forgets", line="share = np.array",
    ),
    Harmless(
        "zemosaic_engine/fits/streams.py", "self._file.flush()", "pass",
        "decides how soon pixels reach the disk, not which: the end of the writer flushes again",
    ),
    Harmless(
        "zemosaic_engine/simulate/truth.py", "5.0", "(10.0)",
        "how far around saturated stars a comparison with the truth asks for no value", line="reach = math.ceil",
    ),
    Harmless(
        "zemosaic_engine/solving/hints.py", "one[0] - other[0] + 180.0", "(one[0] - other[0] - 180.0)",
        "half a turn one way or the other is the same angle",
    ),
    Harmless(
        "zemosaic_engine/subs/frames.py", "longitude + 180.0", "(longitude - 180.0)",
        "half a turn one way or the other is the same angle",
    ),
    Harmless(
        "zemosaic_engine/simulate/scene.py", "dy + sy", "(dy - sy)",
        "the points within a pixel lie on both sides of its middle",
    ),
    Harmless(
        "zemosaic_engine/fits/reader.py", 'image.header.number("BLANK", "ZBLANK")',
        "(image.header.number('ZBLANK', 'BLANK'))",
        "a header has one of the two, or the same number in both",
    ),
    Harmless(
        "zemosaic_engine/calibration_frames/session.py", "share > _NOISE_SHARE", "(share >= _NOISE_SHARE)",
        "a share of measured numbers is never exactly the limit",
    ),
    Harmless(
        "zemosaic_engine/comparison/star_pairs.py", "noise < _MMAG / _LEAST_SNR", "(noise <= _MMAG / _LEAST_SNR)",
        "a measured noise is never exactly the limit",
    ),
    Harmless(
        "zemosaic_engine/astrometry/normal_equations.py", "1e-12", "(2e-12)",
        "keeps the block of a star that nothing holds invertible; far below what any detection adds",
        line="block[:, 0, 0]",
    ),
    Harmless(
        "zemosaic_engine/astrometry/normal_equations.py", "1e-12", "(2e-12)",
        "keeps the block of a star that nothing holds invertible; far below what any detection adds",
        line="block[:, 1, 1]",
    ),
    Harmless(
        "zemosaic_engine/astrometry/normal_equations.py", "len(used) > _DENSE_SUBS", "(len(used) >= _DENSE_SUBS)",
        "of that many subs both ways have the same answer; it decides what the computation costs",
    ),
    Harmless(
        "zemosaic_engine/mosaic/catalogue.py", "400", "(401)",
        "the number of stars that vote for the shift of a catalogue, of which a third is enough", line="_VOTING_STARS",
    ),
    Harmless(
        "zemosaic_engine/calibration_frames/screening.py", "20_000", "(20001)",
        "the number of neighbours that tell a noise is aimed at; one more changes nothing that is seen",
        line="_DIFFERENCES",
    ),
    Harmless(
        "zemosaic_engine/canvas/coordinates.py", "16", "(17)",
        "how finely the outline of a sub is drawn", line="SIDE_POINTS",
    ),
    Harmless(
        "zemosaic_engine/regular_files.py", "1_000_000_000", "(1000000001)",
        "the largest table that is read, one byte more", line="MOST_TABLE_BYTES",
    ),
    Harmless(
        "zemosaic_engine/comparison/findings.py", "5", "(6)",
        "how many lines are looked for in one pair of mosaics; the report names the strongest first",
        line="_MOST_LINES",
    ),
    Harmless(
        "zemosaic_engine/growth/join.py", "len(scaled) < len(placed)", "(len(scaled) <= len(placed))",
        "the run is put together a second time with the same subs",
    ),
    Harmless(
        "zemosaic_engine/growth/join.py", "widths > 0.0", "(widths >= 0.0)",
        "no star has a width of 0: it is NaN where there is none",
    ),
    Harmless(
        "zemosaic_engine/executors/kernel_check.py", "0", "(1)",
        "the field behind the fingerprint is square", line="edges = np.tile",
    ),
    Harmless(
        "zemosaic_engine/executors/kernel_check.py", "0.0", "(1.0)",
        "the field behind the fingerprint is made up; any other tells computers apart as well", line="edges = np.tile",
    ),
    Harmless(
        "zemosaic_engine/tiles/gradients.py",
        "equations.difference[told] - np.median(equations.difference[told])",
        "(equations.difference[told] + np.median(equations.difference[told]))",
        "a start value that the sweeps forget",
    ),
    Harmless(
        "zemosaic_engine/astrometry/matching.py", "0.7", "(1.4)",
        "how far headers may be turned against each other; each match has to prove itself, near or far",
        line="_TURN_RAD",
    ),
    Harmless(
        "zemosaic_engine/solving/plate.py", "1", "(2)",
        "a power beyond the degree has no partner whose power is 0 or more", line="for p in range(degree + 1)",
    ),
    Harmless(
        "zemosaic_engine/solving/plate.py", "plate.scale_rad > 0.0", "(plate.scale_rad >= 0.0)",
        "a fitted scale is never exactly 0; the test is for one that is no number",
    ),
    Harmless(
        "zemosaic_engine/tiles/scaling.py", "0.02", "(0.04)",
        "a floor under the scatter of zero points in headers, far above what overlaps are known to",
        line="_LEAST_TOLD_SCATTER",
    ),
    Harmless(
        "zemosaic_engine/canvas/plan.py", "1e-9", "(2e-09)",
        "a tolerance for rounding, in degrees",
    ),
    Harmless(
        "zemosaic_engine/photometry/stars.py", "1", "(2)",
        "any negative number says that a pixel has no owner", line="owner = np.full",
    ),
    Harmless(
        "zemosaic_engine/kernels/reference/demosaicing.py", "-int(dy)", "(int(dy))",
        "the taps of a colour lie alike above and below a pixel",
    ),
    Harmless(
        "zemosaic_engine/canvas/footprints.py", "1", "(2)",
        "one of the two pixels by which a box may miss a footprint", line="corners = np.array",
    ),
    Harmless(
        "zemosaic_engine/photometry/colour_balance.py", "np.abs(share) < 1.0", "(np.abs(share) <= 1.0)",
        "the weight is 0 at the limit itself, whichever side it belongs to",
    ),
    Harmless(
        "zemosaic_engine/astrometry/solution.py", "radius == _WIDE_PX", "(radius != _WIDE_PX)",
        "the catalogue is matched in the second of two looks instead of the first, and places agree to 0.0001 pixels",
    ),
    Harmless(
        "zemosaic_engine/growth/place.py", "1", "(2)",
        "any negative number says that a star has no partner", line="partner = np.full(len(own)",
    ),
    Harmless(
        "zemosaic_engine/comparison/findings.py",
        "math.ceil(0.5 * math.hypot(height, width)) + 1", "(math.ceil(0.5 * math.hypot(height, width)) - 1)",
        "leaves out lines that only the outermost corner of a mosaic meets, with a block or two each",
    ),
    Harmless(
        "zemosaic_engine/astrometry/normal_equations.py", "1", "(2)",
        "one star more that no sub shows, and that stays where it is", line="self.count = int(star.max",
    ),
    Harmless(
        "zemosaic_engine/executors/kernel_check.py", "1", "(2)",
        "boxes of eight numbers, of which four are read", line="whole = np.tile",
    ),
    Harmless(
        "zemosaic_engine/photometry/stars_by_cells.py", "4", "(5)",
        "how many sources are looked at beyond the stars that are kept", line="order = np.argsort",
    ),
    Harmless(
        "zemosaic_engine/photometry/background.py",
        "max(1, _STRIP_PIXELS // (MESH_PX * width))", "(min(1, _STRIP_PIXELS // (MESH_PX * width)))",
        "how many rows of the mesh are looked at at once, for their memory",
    ),
)  # fmt: skip
