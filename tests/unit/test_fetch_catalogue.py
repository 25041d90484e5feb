"""Gaia's stars are fetched once, from a server on this machine that gives answers of the form of the archive's.

One was recorded from the archive: astroquery brings it among its own tests. The other is written by hand.
"""

from __future__ import annotations

import http.server
import importlib.resources
import io
import threading
import urllib.parse
from typing import ClassVar

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import Table

from zemosaic_app.cli import main
from zemosaic_engine.catalogues.reference import read_catalogue

pytest.importorskip("astroquery", reason="the extra 'online' is not installed")

#: Written by hand in the form of the archive's answers: three made-up stars near M 94, one without colours.
ANSWER = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/>
<TABLE>
<FIELD ID="ra" datatype="double" name="ra" ucd="pos.eq.ra;meta.main" unit="deg"/>
<FIELD ID="dec" datatype="double" name="dec" ucd="pos.eq.dec;meta.main" unit="deg"/>
<FIELD ID="phot_g_mean_mag" datatype="float" name="phot_g_mean_mag" ucd="phot.mag;em.opt" unit="mag"/>
<FIELD ID="phot_bp_mean_mag" datatype="float" name="phot_bp_mean_mag" ucd="phot.mag;em.opt.B" unit="mag"/>
<FIELD ID="phot_rp_mean_mag" datatype="float" name="phot_rp_mean_mag" ucd="phot.mag;em.opt.R" unit="mag"/>
<FIELD ID="bp_rp" datatype="float" name="bp_rp" ucd="phot.color;em.opt.B;em.opt.R" unit="mag"/>
<FIELD ID="phot_bp_mean_flux_over_error" datatype="float" name="phot_bp_mean_flux_over_error"/>
<FIELD ID="phot_rp_mean_flux_over_error" datatype="float" name="phot_rp_mean_flux_over_error"/>
<DATA><TABLEDATA>
<TR><TD>192.70</TD><TD>41.12</TD><TD>10.5</TD><TD>10.9</TD><TD>10.0</TD><TD>0.9</TD><TD>500</TD><TD>800</TD></TR>
<TR><TD>192.75</TD><TD>41.10</TD><TD>12.25</TD><TD>12.5</TD><TD>11.875</TD><TD>0.625</TD><TD>400</TD><TD>400</TD></TR>
<TR><TD>192.80</TD><TD>41.15</TD><TD>15.0</TD><TD/><TD/><TD/><TD/><TD/></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>
"""


class Archive(http.server.BaseHTTPRequestHandler):
    """A TAP service that has one answer."""

    queries: ClassVar[list[str]] = []
    answer: ClassVar[str | bytes] = ANSWER
    status = 200

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.queries.append(urllib.parse.parse_qs(body)["QUERY"][0])
        data = self.answer if isinstance(self.answer, bytes) else self.answer.encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/x-votable+xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def archive():
    Archive.queries, Archive.answer, Archive.status = [], ANSWER, 200
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tap-server/tap"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mosaic(tmp_path):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 192.72, "CRVAL2": 41.12})
    header.update({"CRPIX1": 100.5, "CRPIX2": 75.5, "CDELT1": -0.002, "CDELT2": 0.002})
    path = tmp_path / "mosaic_grid.fits"
    fits.PrimaryHDU(np.zeros((3, 150, 200), np.float32), header).writeto(path)
    return path


def fetch(mosaic, catalogue, server, *more):
    return main(["fetch-catalogue", str(mosaic), str(catalogue), "--server", server, *more])


@pytest.mark.filterwarnings("ignore")  # of libraries that astroquery loads
def test_the_stars_of_the_field_become_a_catalogue_once(archive, mosaic, tmp_path, capsys):
    catalogue = tmp_path / "gaia.ecsv"
    assert fetch(mosaic.parent, catalogue, archive) == 0
    assert "3 Gaia stars within 0.26 degrees of 192.7200 +41.1200 fetched" in capsys.readouterr().out
    assert "CIRCLE('ICRS', 192.72" in Archive.queries[0]
    assert "phot_g_mean_mag < 16" in Archive.queries[0]
    stars = read_catalogue(catalogue, ("R", "G", "B"))
    assert stars.magnitude["B"][:2] == pytest.approx([10.9, 12.5])
    assert stars.magnitude["R"][:2] == pytest.approx([10.0, 11.875])
    assert np.isnan(stars.magnitude["R"][2])
    assert stars.colours.index == "BP-RP"
    assert stars.colours.value[:2] == pytest.approx([0.9, 0.625])
    assert stars.colours.error[1] == pytest.approx(1.0857 * np.sqrt(2) / 400, rel=1e-2)
    assert fetch(mosaic, catalogue, archive) == 0
    assert "already there" in capsys.readouterr().out
    assert len(Archive.queries) == 1
    assert fetch(mosaic, catalogue, archive, "--again") == 0
    assert len(Archive.queries) == 2
    assert fetch(mosaic, catalogue, archive, "--faintest", "14.5") == 0
    assert len(Archive.queries) == 2
    assert fetch(mosaic, catalogue, archive, "--faintest", "18") == 0
    assert "phot_g_mean_mag < 18" in Archive.queries[2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("encoding", ["as recorded", "binary2"])
def test_a_recorded_answer_is_understood(archive, mosaic, tmp_path, encoding):
    """All 152 columns of two stars of Gaia DR3; the archive writes the cells as text or in binary."""
    recorded = importlib.resources.files("astroquery.gaia") / "tests/data/1710099405832VAL-result.vot"
    if not recorded.is_file():
        pytest.skip("this astroquery does not bring the answer")
    Archive.answer = recorded.read_bytes()
    assert b"Gaia DR3" in Archive.answer
    if encoding != "as recorded":
        table, again = parse(io.BytesIO(Archive.answer)), io.BytesIO()
        table.to_xml(again, tabledata_format=encoding)
        Archive.answer = again.getvalue()
    catalogue = tmp_path / "gaia.ecsv"
    assert fetch(mosaic, catalogue, archive) == 0
    stars = read_catalogue(catalogue, ("R", "G", "B"))
    assert sorted(stars.ra_deg) == pytest.approx([171.55081173633306, 268.0676646661466])
    first = int(np.argmax(stars.ra_deg))
    known = parse(io.BytesIO(recorded.read_bytes())).get_first_table().to_table()[0]
    assert stars.magnitude["G"][first] == pytest.approx(known["phot_g_mean_mag"], abs=1e-5)
    assert stars.colours.value[first] == pytest.approx(known["bp_rp"], abs=1e-5)
    assert 0.0 < stars.colours.error[first] < 0.05


@pytest.mark.filterwarnings("ignore")
def test_what_goes_wrong_is_one_sentence(archive, mosaic, tmp_path, capsys):
    catalogue = tmp_path / "gaia.ecsv"
    assert fetch(mosaic, catalogue, "http://127.0.0.1:9/tap") == 1
    told = capsys.readouterr().err
    assert "gave no stars" in told
    assert "the stars that ship with the program" in told
    assert told.count("\n") == 1
    Archive.status, Archive.answer = 500, "<html>out of order</html>"
    assert fetch(mosaic, catalogue, archive) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not catalogue.exists()
    assert fetch(mosaic, tmp_path / "gaia.csv", archive) == 2
    (tmp_path / "empty").mkdir()
    assert fetch(tmp_path / "empty", catalogue, archive) == 2
    catalogue.write_text("not a table")
    Archive.queries.clear()
    assert fetch(mosaic, catalogue, archive) == 2
    assert catalogue.read_text() == "not a table"
    Table({"ra": [192.7], "dec": [41.1], "mag": [9.0]}).write(catalogue, overwrite=True)
    kept = catalogue.read_bytes()
    assert fetch(mosaic, catalogue, archive) == 2
    assert "was not fetched by this command" in capsys.readouterr().err
    assert catalogue.read_bytes() == kept
    assert not Archive.queries
