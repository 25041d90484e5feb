"""Make the star catalogue that ships with the program from the Tycho-2 index of astrometry.net.

    apt-get download astrometry-data-tycho2-07-littleendian
    dpkg-deb -x astrometry-data-tycho2-07-littleendian_*.deb tycho2
    python tools/build_star_catalogue.py tycho2/usr/share/astrometry/index-tycho2-07.littleendian.fits

The index holds the stars of Tycho-2 (Høg et al. 2000, A&A 355, L27) as a tree of unit vectors, three unsigned
integers of 32 bits a star, scaled by the range in its own table, and their magnitudes in V_T in the same order. The
notice of the package is in LICENSES/Tycho-2.txt.
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


def main() -> int:
    """Write the catalogue, read it back, and say how well it came through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="index-tycho2-07.littleendian.fits")
    parser.add_argument("output", type=Path, nargs="?", default=SHIPPED)
    arguments = parser.parse_args()
    stars = stars_of_index(arguments.index)
    write_zones(arguments.output, stars, NAME)
    written = ZonedCatalogue(arguments.output)
    size = arguments.output.stat().st_size
    zone = written.zones.zone_of(stars.ra_deg, stars.dec_deg)
    order = np.lexsort((stars.dec_deg, stars.ra_deg, stars.magnitude, zone))
    back = written.whole_sky()
    off = np.hypot(
        (back.ra_deg - stars.ra_deg[order]) * np.cos(np.radians(back.dec_deg)), back.dec_deg - stars.dec_deg[order]
    )
    print(f"{arguments.output}: {len(written)} stars, {size / 1e6:.1f} MB, off by {off.max() * 3.6e6:.2f} mas at most")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
