"""How true a white is that comes from the stars of a field alone.

    python -m benchmarks.main_sequence                       print the tables
    python -m benchmarks.main_sequence --docs docs/colour.md write them there

Simulated stars are blackbodies through the passbands of a camera, in populations that differ in their share of red
giants and in how hot their dwarfs are. Real ones are those of Tycho-2: the B-V of the middle of the main sequence in
many fields is what white of a field rests on, so that its scatter is that of the method.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord

from benchmarks.tables import renew_between
from zemosaic_engine.catalogues.colours import WHITE, johnson_of_tycho
from zemosaic_engine.catalogues.passbands import blackbody, read_passbands
from zemosaic_engine.photometry.colour_balance import balance_on_locus
from zemosaic_engine.photometry.main_sequence import CAMERA_COLOUR, main_sequence
from zemosaic_engine.solving.star_zones import shipped_catalogue

SUN_K = 5772.0
#: Share of red giants, their temperature, that of dwarfs, and the spread of its logarithm.
POPULATIONS = {
    "a quarter of giants": (0.25, 4400.0, 5900.0, 0.14),
    "no giants": (0.0, 4400.0, 5900.0, 0.14),
    "half giants": (0.5, 4400.0, 5900.0, 0.14),
    "hotter giants": (0.25, 4700.0, 5900.0, 0.14),
    "dwarfs 100 K cooler": (0.25, 4400.0, 5800.0, 0.14),
    "dwarfs 100 K hotter": (0.25, 4400.0, 6000.0, 0.14),
    "dwarfs 300 K hotter": (0.25, 4400.0, 6200.0, 0.14),
    "dwarfs of one kind": (0.25, 4400.0, 5900.0, 0.10),
}
STARS, SEEDS, NOISE = (50, 200, 800), 12, 1.0 / 60.0
LATITUDES_DEG, FIELDS, FIELD_DEG, MOST = ((0, 5), (5, 15), (15, 30), (30, 60), (60, 90)), 200, 4.0, 400
#: Faintest magnitude and largest error of B-V.
DEPTHS = ((10.5, 0.10), (11.5, 0.15))


def field(rng: np.random.Generator, count: int, population: tuple[float, float, float, float]) -> np.ndarray:
    """Fluxes of the stars of a field and, last, that of the Sun, shape (count + 1, 3)."""
    share, giant_k, dwarf_k, spread = population
    wavelength = np.arange(380.0, 782.0, 2.0)
    giant, draw = rng.uniform(0.0, 1.0, count) < share, rng.normal(0.0, 1.0, count)
    kelvin = np.where(giant, giant_k * np.exp(0.08 * draw), dwarf_k * np.exp(spread * draw)).clip(3200.0, 15000.0)
    light = read_passbands("nikon_d5100").light(wavelength, blackbody(wavelength, np.append(kelvin, SUN_K)))
    return np.asarray(1e5 * light / light[:, 1:2])


def white_off_percent(seed: int, count: int, population: tuple[float, float, float, float]) -> np.ndarray:
    """By how much R/G and B/G of the Sun are off."""
    rng = np.random.default_rng(seed)
    flux = field(rng, count, population)
    sun, flux = flux[-1], flux[:-1]
    found = balance_on_locus(flux * rng.normal(1.0, NOISE, flux.shape), NOISE * flux, WHITE["solar"]["B-V"])
    ratio = sun * found.factors
    return np.asarray(100.0 * (ratio[[0, 2]] / ratio[1] - 1.0))


def simulated() -> str:
    """Table of simulated fields: mean and standard deviation of the error of white."""
    lines = ["| stars are | " + " | ".join(f"{count} stars: R/G, B/G, %" for count in STARS) + " |"]
    lines.append("|---" * (1 + len(STARS)) + "|")
    for name, population in POPULATIONS.items():
        cells = []
        for count in STARS:
            off = np.array([white_off_percent(seed, count, population) for seed in range(SEEDS)])
            cells.append(", ".join(f"{m:+.1f} ± {s:.1f}" for m, s in zip(off.mean(0), off.std(0), strict=True)))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def real() -> str:
    """Table of fields of the sky: B-V of the middle of the main sequence of Tycho-2, and of the median star."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0.0, 360.0, FIELDS), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, FIELDS)))
    latitude = np.abs(SkyCoord(ra * units.deg, dec * units.deg).galactic.b.deg)
    catalogue = shipped_catalogue()
    header = "| galactic latitude | " + " | ".join(
        f"V < {faintest:g}: main sequence | median star" for faintest, _ in DEPTHS
    )
    lines = [header + " |", "|---" * (1 + 2 * len(DEPTHS)) + "|"]
    found = np.full((FIELDS, 2 * len(DEPTHS)), np.nan)
    for number in range(FIELDS):
        stars = catalogue.near((ra[number], dec[number]), FIELD_DEG)
        colour, error = johnson_of_tycho(stars.colour.astype(float)), 0.85 * stars.colour_error.astype(float)
        for place, (faintest, largest) in enumerate(DEPTHS):
            good = np.isfinite(colour) & (error < largest) & (stars.magnitude < faintest)
            if good.sum() >= 50:
                values, errors = colour[good][-MOST:], error[good][-MOST:]
                middle = main_sequence(values, errors, unit=1.0 / CAMERA_COLOUR).middle
                found[number, 2 * place : 2 * place + 2] = middle, np.median(values)
    for low, high in LATITUDES_DEG:
        rows = found[(latitude >= low) & (latitude < high)]
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(np.nanmean(rows, 0), np.nanstd(rows, 0), strict=True)]
        lines.append(f"| {low} to {high} degrees | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, help="page with the marks 'white of a field' and 'main sequence'")
    page = parser.parse_args().docs
    for mark, table in (("white of a field", simulated()), ("main sequence", real())):
        print(table, end="\n\n")
        if page is not None:
            renew_between(page, table, mark)
    return 0


if __name__ == "__main__":
    sys.exit(main())
