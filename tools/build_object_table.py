"""Make the table of the objects of the NGC and IC that ships with the program, from OpenNGC as KStars has it.

    apt-get download kstars-data
    dpkg-deb -x kstars-data_*.deb kstars
    python tools/build_object_table.py kstars/usr/share/kstars/OpenNGC.kscat

The file is a SQLite database of OpenNGC (https://github.com/mattiaverga/OpenNGC), licensed under CC-BY-SA-4.0; so is
the table (LICENSES/OpenNGC.txt). Single and double stars, doubles of other entries and objects without a type are left
out; positions are rounded to 0.0001 degrees, sizes to 0.01 arcminutes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import re
import sqlite3
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[1] / "zemosaic_engine" / "catalogues" / "openngc.csv.gz"
COLUMNS = ("name", "common", "kind", "ra_deg", "dec_deg", "magnitude", "major_arcmin", "minor_arcmin", "angle_deg")
#: Kinds of KStars that the table holds.
KINDS = {
    3: "open cluster", 4: "globular cluster", 5: "nebula", 6: "planetary nebula", 7: "supernova remnant", 8: "galaxy",
    13: "asterism", 14: "galaxies",
}  # fmt: skip
#: Messier objects that are neither; the size of the double star M 40 is that of its separation, in arcseconds.
MESSIER = {"M 40": "double star", "M 73": "asterism"}
#: Objects whose size in the source is that of a whole complex: NGC 6960 is the western part of the Veil.
WRONG_SIZE = {"M 40", "NGC 6960"}
#: Names that most people use, where the list has none, a rare one before them, or that of a neighbour.
COMMON = {
    "IC 434": "Horsehead Nebula", "IC 1396": "Elephant's Trunk Nebula", "IC 1805": "Heart Nebula",
    "IC 1848": "Soul Nebula", "M 1": "Crab Nebula", "M 11": "Wild Duck Cluster", "M 17": "Omega Nebula",
    "M 24": "Small Sagittarius Star Cloud", "M 42": "Orion Nebula", "M 76": "Little Dumbbell Nebula",
    "M 101": "Pinwheel Galaxy", "NGC 253": "Sculptor Galaxy", "NGC 281": "Pacman Nebula",
    "NGC 1977": "Running Man Nebula", "NGC 2024": "Flame Nebula", "NGC 2237": "Rosette Nebula",
    "NGC 2359": "Thor's Helmet", "NGC 6334": "Cat's Paw Nebula", "NGC 6992": "Eastern Veil Nebula",
}  # fmt: skip
#: Names of other catalogues, which are no common names.
CATALOGUES = re.compile(r"(PGC|UGC|UGC A|ESO|MCG|NGC|IC|M|Mel|CED|Barnard|LBN|HD|SH|C) ?[\d-]")
QUERY = "SELECT name, long_name, type, ra, dec, magnitude, major_axis, minor_axis, position_angle FROM cat"


def rows(database: Path) -> list[list[str]]:
    """Rows of the table, the brightest first."""
    found = []
    with sqlite3.connect(database) as connection:
        for name, other, kind, ra, dec, magnitude, major, minor, angle in connection.execute(QUERY):
            names = [part.strip() for part in (other or "").split(",") if part.strip()]
            # The list calls M 102 by its other name.
            alias = next((part for part in names if re.fullmatch(r"M \d+", part)), None)
            if alias:
                name, names = alias, [name, *names]
            word = MESSIER.get(name) or KINDS.get(kind)
            if word is None:
                continue
            number = [part for part in names if re.fullmatch(r"(NGC|IC) \d+", part)][:1]
            common = [COMMON[name]] if name in COMMON else [part for part in names if not CATALOGUES.match(part)][:1]
            if name in WRONG_SIZE:
                major = minor = angle = None
            found.append((magnitude if magnitude is not None else 99.0,
                          [name, "; ".join([*common, *number]), word, f"{ra:.4f}", f"{dec:.4f}", text(magnitude),
                           text(major), text(minor), text(angle)]))  # fmt: skip
    return [row for _, row in sorted(found)]


def text(value: float | None) -> str:
    """A number as short as it can be said, empty if there is none."""
    return "" if not value else f"{value:.2f}".rstrip("0").rstrip(".")


def main() -> int:
    """Write the table and say how long it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, help="OpenNGC.kscat")
    parser.add_argument("output", type=Path, nargs="?", default=SHIPPED)
    arguments = parser.parse_args()
    lines = rows(arguments.database)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([COLUMNS, *lines])
    arguments.output.write_bytes(gzip.compress(buffer.getvalue().encode(), mtime=0))
    messier = sum(row[0].startswith("M ") for row in lines)
    print(f"{arguments.output}: {len(lines)} objects, {messier} of Messier, {arguments.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
