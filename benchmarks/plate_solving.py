"""How many pictures are solved, how fast and how well; and whether chance is ever taken for a solution.

    python -m benchmarks.plate_solving fields [--number 500]
    python -m benchmarks.plate_solving random [--number 2000]
    python -m benchmarks.plate_solving subs FOLDER

`subs` takes plate solutions away from the subs of a folder first and compares with them afterwards; where
`solve-field` of astrometry.net is installed it solves the same subs beside.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.star_fields import SHAPES, Trouble, false_field, off_px, picture
from zemosaic_engine.astrometry.matching import same_places
from zemosaic_engine.astrometry.results import CatalogueStars
from zemosaic_engine.astrometry.solution import solve_astrometry
from zemosaic_engine.astrometry.star_places import places_of_sub
from zemosaic_engine.fits.headers import HeaderCards, unit_vectors
from zemosaic_engine.fits.reader import find_image
from zemosaic_engine.run.register import TYCHO2_ERROR_ARCSEC
from zemosaic_engine.solving import hints
from zemosaic_engine.solving.cards import plate_cards, wcs_of
from zemosaic_engine.solving.detection import stars_of_picture, stars_of_sub
from zemosaic_engine.solving.plate import Plate
from zemosaic_engine.solving.sky_indexes import SkyIndexes
from zemosaic_engine.solving.solver import Search, solve
from zemosaic_engine.solving.star_zones import ZonedCatalogue, shipped_catalogue
from zemosaic_engine.subs.frames import SubInfo, read_sub_info

MOST_POLISHED_PX = 0.15
HINTS = ("near", "2 degrees off", "scale alone", "none")


def some_field(rng: np.random.Generator, catalogue: ZonedCatalogue):
    """A picture with its header, and what was made wrong with it."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    side_deg = float(np.exp(rng.uniform(math.log(0.6), math.log(20.0))))
    center = None
    if rng.random() < 0.4:  # where stars are dense
        longitude, latitude = rng.uniform(0.0, 360.0), rng.normal(0.0, 4.0)
        center = _of_galactic(longitude, latitude)
    trouble = Trouble(
        trail_px=float(rng.choice((0.0, 0.0, rng.uniform(2.0, 8.0)))),
        coma_px=float(rng.choice((0.0, 0.0, rng.uniform(1.0, 5.0)))),
        distortion=float(rng.choice((0.0, rng.uniform(-0.004, 0.004)))),
    )
    made = picture(
        rng, catalogue, side_deg, shape, trouble, center_deg=center,
        fwhm_px=float(rng.uniform(2.0, 4.5)), seen=int(rng.integers(50, 250)),
    )  # fmt: skip
    hint = HINTS[rng.integers(len(HINTS))]
    return made, shape, side_deg, hint, header_of(rng, made.plate, hint)


def _of_galactic(longitude: float, latitude: float) -> tuple[float, float]:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    place = SkyCoord(longitude * u.deg, latitude * u.deg, frame="galactic").icrs
    return float(place.ra.deg), float(place.dec.deg)


def header_of(rng: np.random.Generator, plate, hint: str) -> HeaderCards:
    """Cards as a camera writes them, as wrong as the hint says."""
    cards: dict[str, float] = {}
    if hint != "none":
        scale = 3600.0 * math.degrees(plate.scale_rad) * rng.uniform(0.95, 1.05)
        cards |= {"XPIXSZ": 3.0, "FOCALLEN": 3.0e-3 / scale * 206264.806}
    if hint in ("near", "2 degrees off"):
        off = rng.uniform(0.0, 0.3) if hint == "near" else rng.uniform(0.5, 2.0)
        turn = rng.uniform(0.0, 2.0 * math.pi)
        ra, dec = plate.center_deg
        dec_told = min(89.9, max(-89.9, dec + off * math.sin(turn)))
        cards |= {"RA": (ra + off * math.cos(turn) / math.cos(math.radians(dec_told))) % 360.0, "DEC": dec_told}
    return HeaderCards(cards)


def fields(number: int, seed: int, first: int = 0) -> bool:
    """Solve simulated pictures; True if the bars are met."""
    catalogue = shipped_catalogue()
    indexes = SkyIndexes(catalogue)
    counts: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {hint: [] for hint in HINTS}
    missed, errors = [], []
    for turn in range(first, first + number):
        rng = np.random.default_rng([seed, turn])
        made, shape, side_deg, hint, cards = some_field(rng, catalogue)
        began = time.process_time()
        field = stars_of_picture(made.pixels)
        found = solve(field, hints.searches(cards), catalogue, indexes)
        seconds[hint].append(time.process_time() - began)
        fair = made.catalogue_stars >= 12
        counts["fair"] += fair
        if found is None:
            counts["missed"] += fair
            missed.append((turn, round(side_deg, 2), hint, made.catalogue_stars, len(field)))
            continue
        off = off_px(found.plate, made, shape)
        errors.append(off)
        if off > 0.01 * max(shape):
            counts["false"] += 1
            print(f"FALSE: field {turn} {side_deg:.2f} deg, {hint}: off by {off:.1f} px, log odds {found.log_odds:.0f}")
        else:
            counts["solved"] += fair
    for line in missed:
        print("not solved: field {}, {} degrees, hint {}, {} catalogue stars, {} stars seen".format(*line))
    share = counts["solved"] / max(1, counts["fair"])
    print(f"{counts['solved']} of {counts['fair']} fields with 12 catalogue stars solved ({100 * share:.1f} %)")
    print(f"{counts['false']} false; off by {np.median(errors):.2f} px at the corners in the median")
    for hint, spent in seconds.items():
        if spent:
            print(f"hint {hint}: {np.median(spent):.3f} s of processor time in the median, {max(spent):.1f} at most")
    return share >= 0.99 and not counts["false"]


def random_fields(number: int, seed: int, first: int = 0) -> bool:
    """Try to solve stars that are nowhere on the sky; True if none is solved."""
    catalogue = shipped_catalogue()
    indexes = SkyIndexes(catalogue)
    solved = 0
    for turn in range(first, first + number):
        rng = np.random.default_rng([seed, turn])
        shape = SHAPES[rng.integers(len(SHAPES))]
        field = false_field(rng, shape, int(rng.integers(10, 200)))
        scale = float(np.exp(rng.uniform(math.log(0.6), math.log(20.0)))) * 3600.0 / min(shape)
        place = (float(rng.uniform(0, 360)), float(np.degrees(np.arcsin(rng.uniform(-1, 1)))))
        tried = [Search(place, 3.5, (scale / 1.12, scale * 1.12)), Search(None, 180.0, hints.ANY_SCALE)]
        found = solve(field, tried, catalogue, indexes)
        if found is not None:
            solved += 1
            print(f"FALSE: field {turn}, {len(field)} stars, log odds {found.log_odds:.1f}, {found.stars} matched")
        if (turn + 1) % 50 == 0:
            print(f"{turn + 1 - first} fields tried, {solved} false", flush=True)
    print(f"{solved} false solutions in {number} random star fields")
    return solved == 0


def subs(folder: Path) -> bool:
    """Solve the subs of a folder as if they were not; True if all are solved where their headers say."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".fit", ".fits"))
    catalogue = shipped_catalogue()
    good = True
    for mode in ("hints", "blind"):
        indexes = SkyIndexes(catalogue)
        spent, rests, polish = [], [], Polish(catalogue)
        for path in paths:
            info = read_sub_info(path)
            cards = stripped(find_image(path).header, blind=mode == "blind")
            began = time.process_time()
            field = stars_of_sub(info)
            found = solve(field, hints.searches(cards), catalogue, indexes)
            spent.append(time.process_time() - began)
            if found is None:
                print(f"{path.name}: not solved")
                good = False
                continue
            rests.append(median_rest(found, field, catalogue))
            polish.add(info, found.plate)
            x, y = np.array([0.0, info.shape[1] - 1]), np.array([0.0, info.shape[0] - 1])
            told = info.wcs.all_world2pix(np.stack(found.plate.to_sky(x, y), axis=1), 0)
            good &= bool(np.hypot(*(told - np.stack([x, y], axis=1)).T).max() < 6.0)
        print(
            f"{mode}: {len(rests)} of {len(paths)} solved, first {spent[0]:.2f} s of processor time, then "
            f"{np.median(spent[1:]):.3f} s in the median, {max(spent[1:]):.3f} at most; "
            f"median residual {np.median(rests):.3f} px"
        )
        among, known = polish.residuals_px()
        good &= among < MOST_POLISHED_PX
        print(f"{mode}, registered on each other: stars agree among the subs to {among:.3f} px, with the catalogue to "
              f"{known:.3f} px (medians)")  # fmt: skip
    if shutil.which("solve-field"):
        _peer(paths)
    return good


class Polish:
    """The registration of solved subs on each other, and what it leaves.

    Parameters
    ----------
    catalogue : ZonedCatalogue
        Holds the whole in place.
    """

    def __init__(self, catalogue: ZonedCatalogue) -> None:
        self._catalogue = catalogue
        self._infos: list[SubInfo] = []

    def add(self, info: SubInfo, plate: Plate) -> None:
        """A sub and its plate."""
        self._infos.append(replace(info, wcs=wcs_of(plate_cards(plate, info.shape), info.shape)))

    def residuals_px(self) -> tuple[float, float]:
        """Median distances of stars from the mean of all subs that show them, and from their catalogue places."""
        from scipy.spatial import cKDTree

        infos = self._infos
        known = self._catalogue.near(infos[0].center_deg, 3.0)
        known_stars = CatalogueStars(known.ra_deg, known.dec_deg, np.full(len(known), TYCHO2_ERROR_ARCSEC))
        stars = [places_of_sub(info) for info in infos]
        cameras = ["camera"] * len(infos)
        solved = solve_astrometry([i.wcs for i in infos], [i.shape for i in infos], cameras, stars, known_stars)
        sky = [
            unit_vectors(*solved.wcs.wcs(n, info.shape).all_pix2world(star.x, star.y, 0))
            for n, (info, star) in enumerate(zip(infos, stars, strict=True))
        ]
        vector, unit_rad = np.concatenate(sky), math.radians(infos[0].pixel_scale_arcsec / 3600.0)
        star = same_places(vector, np.repeat(np.arange(len(sky)), [len(each) for each in sky]), 1.5 * unit_rad)
        vector, star = vector[star >= 0], star[star >= 0]
        number = np.bincount(star)
        mean = np.stack([np.bincount(star, vector[:, k]) / number for k in range(3)], axis=1)[star]
        # A mean follows its own stars: what a star would be from the mean of the others.
        among = np.linalg.norm(vector - mean, axis=1) * np.sqrt(number / (number - 1.0))[star] / unit_rad
        apart = cKDTree(unit_vectors(known.ra_deg, known.dec_deg)).query(vector)[0] / unit_rad
        return float(np.median(among)), float(np.median(apart[apart < 2.0]))


def stripped(cards: HeaderCards, *, blind: bool) -> HeaderCards:
    """The cards without a plate solution, and if it is to be blind without any hint of the place."""
    gone = ("C", "A_", "B_", "AP_", "BP_", "PV", "LONPOLE", "LATPOLE", "EQUINOX", "RADESYS", "WCSAXES")
    kept = {name: value for name, value in cards.items() if not name.startswith(gone) or name.startswith("CCD")}
    for name in ("RA", "DEC") if blind else ():
        kept.pop(name, None)
    return HeaderCards(kept)


def median_rest(found, field, catalogue: ZonedCatalogue) -> float:
    """Median distance, in pixels, of matched stars from their catalogue places."""
    from scipy.spatial import cKDTree

    from zemosaic_engine.solving.solver import expected_stars

    _, expected = expected_stars(found.plate, field.shape, catalogue, 1000)
    apart, _ = cKDTree(field.places).query(expected)
    return float(np.median(apart[apart < 2.0]))


def _peer(paths: list[Path]) -> None:
    """Processor time of `solve-field` on the same subs, with and without hints, where its index is found."""
    for label, extra in (("hints", ["--ra", "192.72", "--dec", "41.12", "--radius", "3"]), ("blind", [])):
        solved, seconds = 0, []
        for path in paths:
            with tempfile.TemporaryDirectory() as folder:
                command = [
                    "solve-field", "--no-plots", "--overwrite", "--dir", folder, "--scale-units", "arcsecperpix",
                    "--scale-low", "2.1", "--scale-high", "2.7", "--no-verify", "--downsample", "2", *extra, str(path),
                ]  # fmt: skip
                began = _children_seconds()
                subprocess.run(command, capture_output=True, timeout=300, check=False)
                seconds.append(_children_seconds() - began)
                solved += bool(list(Path(folder).glob("*.solved")))
        print(
            f"solve-field, {label}: {solved} of {len(paths)} solved, {np.median(seconds):.2f} s of processor time "
            "in the median"
        )


def _children_seconds() -> float:
    """Processor time of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    """Run what the command line asks for; 0 if its bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fields", "random", "subs"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--number", type=int, default=None)
    parser.add_argument("--first", type=int, default=0, help="number of the first field, to make them in parts")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.what == "fields":
        return 0 if fields(arguments.number or 500, arguments.seed, arguments.first) else 1
    if arguments.what == "random":
        return 0 if random_fields(arguments.number or 2000, arguments.seed, arguments.first) else 1
    if arguments.folder is None:
        parser.error("subs needs a folder")
    return 0 if subs(arguments.folder) else 1


if __name__ == "__main__":
    raise SystemExit(main())
