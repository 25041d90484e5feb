"""Panels, rotations, nights and telescopes: every sub in the group of its pointing."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from zemosaic_engine.canvas.advice import _numbered
from zemosaic_engine.canvas.coordinates import footprint_box
from zemosaic_engine.canvas.pointings import group_by_pointing, pointing_tiles
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.subs.frames import read_sub_info


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """2 x 3 panels of three nights that overlap by a fifth, dithered by up to a tenth of the field and rotated."""
    spec = PRESETS["tiny"].but(
        shape=(160, 240), panels=(2, 3), subs_per_panel=6, nights=3, overlap=0.2, dither_px=15.0, rotation_deg=25.0
    )
    folder = tmp_path_factory.mktemp("survey")
    truth = simulate_survey(folder, spec, 1)
    infos = [read_sub_info(folder / str(name)) for name in truth.subs["file"]]
    return infos, np.asarray(truth.subs["panel"])


def test_every_panel_is_one_group_over_all_nights_and_rotations(survey):
    infos, panel = survey
    groups = group_by_pointing(infos, 0.3)
    assert sorted(sorted(group) for group in groups) == sorted(np.flatnonzero(panel == p).tolist() for p in range(6))


def test_groups_do_not_depend_on_the_order_of_the_subs(survey):
    infos, panel = survey
    order = np.random.default_rng(2).permutation(len(infos))
    groups = group_by_pointing([infos[number] for number in order], 0.3)
    assert sorted(sorted(int(order[n]) for n in group) for group in groups) == sorted(
        np.flatnonzero(panel == p).tolist() for p in range(6)
    )


def test_a_radius_of_nothing_leaves_every_sub_alone_and_a_large_one_joins_all(survey):
    infos, _ = survey
    assert len(group_by_pointing(infos, 0.001)) == len(infos)
    assert len(group_by_pointing(infos, 20.0)) == 1
    assert group_by_pointing([], 0.3) == []


def test_no_sub_is_farther_from_its_middle_than_the_radius(survey):
    """Also where pointings form a chain without a gap, which friends of friends would take for one group."""
    infos, _ = survey
    side_deg = 160 * infos[0].pixel_scale_arcsec / 3600.0
    from dataclasses import replace

    chain = [
        replace(infos[0], center_deg=(infos[0].center_deg[0], infos[0].center_deg[1] + 0.1 * n * side_deg))
        for n in range(40)
    ]
    groups = group_by_pointing(chain, 0.3)
    assert 6 <= len(groups) <= 12
    assert sorted(n for group in groups for n in group) == list(range(40))
    for group in groups:
        dec = np.array([chain[n].center_deg[1] for n in group])
        assert np.abs(dec - dec.mean()).max() <= 0.3 * side_deg * 1.001


def test_tiles_lie_around_their_own_subs(survey):
    infos, panel = survey
    layouts = pointing_tiles(infos, 0.3, 2.0, 400.0)
    assert [layout.name for layout in layouts] == [f"tile_{n:04d}" for n in range(6)]
    assert len({layout.grid.wcs.wcs.crval.tobytes() for layout in layouts}) == 6
    for layout in layouts:
        assert layout.inner == layout.outer
        assert layout.grid.pixel_scale_arcsec == 2.0
        assert len(set(panel[list(layout.subs)])) == 1
        for number in layout.subs:
            box = footprint_box(infos[number].wcs, infos[number].shape, layout.grid.wcs, (10**6, 10**6))
            assert box.y1 <= layout.outer.y1
            assert box.x1 <= layout.outer.x1


def test_panels_are_numbered_in_reading_order():
    """North is up: rows from the top; in a row from the left, which is the east, however it is tilted."""
    places = [
        np.array(place) for place in ((400.0, 305.0), (10.0, 295.0), (200.0, 300.0), (5.0, 100.0), (390.0, 105.0))
    ]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.cdelt = -0.01, 0.01
    wcs.wcs.set()
    panels = _numbered(places, [3, 0, 2, 1, 4], [(9.0, 0), (0.0, 5), (4.0, 2), (1.0, 8), (9.0, 0)], wcs, 200.0)
    assert [panel.x for panel in panels] == [10.0, 200.0, 400.0, 5.0, 390.0]
    assert [panel.state for panel in panels] == ["missing", "thin", "even", "thin", "even"]
    assert panels[0].ra_deg > panels[1].ra_deg > panels[2].ra_deg
