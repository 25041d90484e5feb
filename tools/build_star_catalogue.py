"""Make the star catalogue that ships with the program from the Tycho-2 index of astrometry.net, and its colours.

    apt-get download astrometry-data-tycho2-07-littleendian
    dpkg-deb -x astrometry-data-tycho2-07-littleendian_*.deb tycho2
    apt-get source --download-only tycho2          # needs a deb-src line
    tar xJf tycho2_2.orig.tar.xz -C tycho2
    python tools/build_star_catalogue.py tycho2/usr/share/astrometry/index-tycho2-07.littleendian.fits tycho2

The index holds the stars of Tycho-2 (Høg et al. 2000, A&A 355, L27) as a tree of unit vectors, three unsigned
integers of 32 bits a star, scaled by the range in its own table, and their magnitudes in V_T in the same order. The
source package holds the catalogue itself, from which B_T comes. The notice of both is in LICENSES/Tycho-2.txt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from zemosaic_engine.solving.star_zones import StarList, ZonedCatalogue, write_zones

NAME = "Tycho-2 (V_T)"
SHIPPED = Path(__file__).resolve().parents[1] / "zemosaic_engine" / "solving" / "tycho2.stars"
MOST_BYTES = 20_000_000
#: Bytes of the lines of the catalogue (from 0): mean place, B_T, its error, V_T, its error; of the supplement likewise.
CATALOGUE_COLUMNS = ((15, 27), (28, 40), (110, 116), (117, 122), (123, 129), (130, 135))
SUPPLEMENT_COLUMNS = ((15, 27), (28, 40), (83, 89), (90, 95), (96, 102), (103, 108))
SAME_PLACE_ARCSEC, SAME_MAG = 2.0, 0.0011


def stars_of_index(index: Path) -> StarList:
    """Places and magnitudes of all stars of an index file of astrometry.net."""
    with fits.open(index, memmap=False) as hdus:
        tables = {
            hdu.columns.names[0]: np.ascontiguousarray(hdu.data).view(np.uint8) for hdu in hdus[1:] if hdu.data.size
        }
        bounds = tables["kdtree_range_stars"].view("<f8")
        vectors = tables["kdtree_data_stars"].view("<u4").reshape(-1, 3) / bounds[6] + bounds[:3]
        magnitude = tables["MAG_VT"].view(">f4").astype(np.float32)
    x, y, z = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    return StarList(np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y))), magnitude)


def catalogue_lines(folder: Path) -> np.ndarray:
    """Place, B_T, its error, V_T and its error of the whole catalogue, shape (n, 6); NaN where blank."""
    rows = []
    files = [(path, CATALOGUE_COLUMNS) for path in sorted(folder.rglob("tyc2.dat.*"))]
    files += [(path, SUPPLEMENT_COLUMNS) for path in folder.rglob("suppl_1.dat")]
    for path, columns in files:
        lines = path.read_bytes().splitlines()
        rows += [[float(line[first:last].strip() or "nan") for first, last in columns] for line in lines]
    table = np.array(rows)
    return table[np.isfinite(table[:, :2]).all(axis=1)]


def with_colours(stars: StarList, table: np.ndarray) -> StarList:
    """The stars with B_T - V_T of the entry at their place and of their V_T."""
    from scipy.spatial import cKDTree

    reach = 2.0 * np.sin(np.radians(SAME_PLACE_ARCSEC / 3600.0) / 2.0)
    distance, near = cKDTree(unit_vectors(table[:, 0], table[:, 1])).query(
        unit_vectors(stars.ra_deg, stars.dec_deg), k=2, distance_upper_bound=reach
    )
    known = np.append(table, np.full((1, 6), np.nan), axis=0)[near]
    same = np.isfinite(distance) & (np.abs(known[..., 4] - stars.magnitude[:, None]) < SAME_MAG)
    first = np.argmax(same, axis=1)
    entry = np.where(same.any(axis=1)[:, None], known[np.arange(len(stars)), first], np.nan)
    colour, error = entry[:, 2] - entry[:, 4], np.hypot(entry[:, 3], entry[:, 5])
    return StarList(stars.ra_deg, stars.dec_deg, stars.magnitude, colour.astype(np.float32), error.astype(np.float32))


def unit_vectors(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    """Directions, shape (n, 3)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def main() -> int:
    """Write the catalogue, read it back, and say how well it came through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="index-tycho2-07.littleendian.fits")
    parser.add_argument("catalogue", type=Path, help="folder with tyc2.dat.00 ... and suppl_1.dat")
    parser.add_argument("output", type=Path, nargs="?", default=SHIPPED)
    arguments = parser.parse_args()
    stars = with_colours(stars_of_index(arguments.index), catalogue_lines(arguments.catalogue))
    write_zones(arguments.output, stars, NAME)
    written = ZonedCatalogue(arguments.output)
    size = arguments.output.stat().st_size
    zone = written.zones.zone_of(stars.ra_deg, stars.dec_deg)
    order = np.lexsort((stars.dec_deg, stars.ra_deg, stars.magnitude, zone))
    back = written.whole_sky()
    off = np.hypot(
        (back.ra_deg - stars.ra_deg[order]) * np.cos(np.radians(back.dec_deg)), back.dec_deg - stars.dec_deg[order]
    )
    colour_off = np.nanmax(np.abs(back.colour - stars.colour[order]))
    print(f"{arguments.output}: {len(written)} stars, {size / 1e6:.1f} MB, off by {off.max() * 3.6e6:.2f} mas at most")
    print(f"{np.isfinite(back.colour).sum()} colours, off by {colour_off:.4f} mag at most")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
