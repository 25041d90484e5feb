"""The canvas is planned from the subs that agree."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from zemosaic_engine.canvas.coordinates import footprint_polygon, pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.plan import plan_canvas, split_by_agreement
from zemosaic_engine.canvas.tile_layout import grid_tiles
from zemosaic_engine.errors import RunError
from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.files import write_sub_table
from zemosaic_engine.subs.frames import SubInfo

SHAPE = (120, 80)


def sub(name, ra=100.0, dec=30.0, scale=3.6, rotation=0.0, channels=3, mirrored=False):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = SHAPE[1] / 2 + 0.5, SHAPE[0] / 2 + 0.5
    angle, step = np.radians(rotation), scale / 3600
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn @ np.diag([step if mirrored else -step, step])
    wcs.wcs.set()
    return SubInfo(
        Path(f"{name}.fits"), 0, SHAPE, channels, None, 10.0, wcs=wcs, pixel_scale_arcsec=scale, center_deg=(ra, dec)
    )


def names(items):
    return [item.path.stem for item in items]


def test_subs_that_agree_are_all_kept():
    infos = [sub(f"s{i}", ra=100 + 0.05 * i) for i in range(5)]
    kept, rejected = split_by_agreement(infos, 3.0)
    assert kept == infos
    assert not rejected


def test_one_wrong_solution_is_set_aside_with_its_reason():
    infos = [sub(f"s{i}", ra=100 + 0.05 * i) for i in range(5)] + [sub("lost", ra=250.0, dec=-40.0)]
    kept, rejected = split_by_agreement(infos, 3.0)
    assert names(kept) == [f"s{i}" for i in range(5)]
    assert names(rejected) == ["lost"]
    assert "degrees from the other subs" in rejected[0].reason


def test_an_island_of_the_survey_is_not_a_mistake():
    infos = [sub(f"a{i}", ra=100 + 0.05 * i) for i in range(6)] + [sub(f"b{i}", ra=104 + 0.05 * i) for i in range(4)]
    kept, rejected = split_by_agreement(infos, 3.0)
    assert len(kept) == 10
    assert not rejected


def test_two_far_subs_cannot_tell_who_is_wrong():
    kept, rejected = split_by_agreement([sub("a"), sub("b", ra=200.0)], 3.0)
    assert len(kept) == 2
    assert not rejected


def test_other_scales_and_channels_are_set_aside():
    infos = [sub(f"s{i}") for i in range(4)]
    infos += [sub("wide", scale=36.0), sub("mono", channels=1), sub("off", scale=3.8), sub("binned", scale=7.2)]
    kept, rejected = split_by_agreement(infos, 3.0)
    assert len(kept) == 4
    assert sorted(names(rejected)) == ["binned", "mono", "off", "wide"]
    assert "36 arcsec" in next(e for e in rejected if e.path.stem == "wide").reason


@pytest.mark.parametrize(("first", "second"), [(6, 3), (2, 2), (2, 4), (20, 3)])
def test_a_second_telescope_joins_if_its_subs_agree(first, second):
    infos = [sub(f"s{i}") for i in range(first)] + [sub(f"t{i}", scale=6.0) for i in range(second)]
    kept, rejected = split_by_agreement(infos, 3.0)
    assert len(kept) == first + second
    assert not rejected


@pytest.mark.parametrize("rotation", [0.0, 33.0, 90.0, 180.0, 271.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_canvas_holds_every_sub_whatever_its_rotation(rotation, mirrored):
    infos = [sub("a", rotation=rotation, mirrored=mirrored), sub("b", ra=100.1, dec=30.05, rotation=rotation + 20)]
    canvas = plan_canvas(infos, 0.0, 100.0)
    for info in infos:
        height, width = info.shape
        corners_x, corners_y = np.array([0, width - 1, 0, width - 1.0]), np.array([0, 0, height - 1, height - 1.0])
        x, y = sky_to_pixel(canvas.wcs, *pixel_to_sky(info.wcs, corners_x, corners_y))
        assert (x >= 0).all()
        assert (y >= 0).all()
        assert (x <= canvas.shape[1] - 1).all()
        assert (y <= canvas.shape[0] - 1).all()
    assert canvas.pixel_scale_arcsec == pytest.approx(3.6)
    assert canvas.wcs.wcs.cdelt[1] * 3600 == pytest.approx(3.6)


def test_a_canvas_above_its_limit_stops_with_a_clear_error():
    infos = [sub("a"), sub("b", ra=140.0, dec=50.0)]
    with pytest.raises(RunError, match=r"above the limit of 10 Mpx.*max_canvas_mpx"):
        plan_canvas(infos, 0.0, 10.0)


@pytest.mark.parametrize("order", [(0, 100, 200), (100, 0, 200)])
def test_subs_of_more_than_half_the_sky_stop_with_a_clear_error(order):
    with pytest.raises(RunError, match="do not fit one gnomonic canvas"):
        plan_canvas([sub(f"s{ra}", ra=float(ra), dec=0.0) for ra in order], 0.0, 1e6)


def test_the_table_of_subs_has_the_outer_corners_of_their_frames(tmp_path):
    info = sub("a", rotation=30.0)
    write_sub_table(tmp_path, [info])
    (row,) = Table.read(tmp_path / "subs.ecsv")
    corners = [(row[f"ra_{corner}"], row[f"dec_{corner}"]) for corner in (1, 4, 3, 2)]  # in the order of astropy
    outline = info.wcs.calc_footprint(axes=SHAPE[::-1], center=False)
    np.testing.assert_allclose(corners, outline, atol=1e-6)


def test_footprints_know_their_inside():
    info = sub("a", rotation=30.0)
    canvas = plan_canvas([info], 0.0, 10.0)
    footprint = footprint_of(info, canvas)
    x, y = sky_to_pixel(canvas.wcs, *pixel_to_sky(info.wcs, np.array([10.0]), np.array([60.0])))
    inward = footprint.edges @ np.array([x[0], y[0], 1.0])
    assert sorted(inward) == pytest.approx([10.5, 59.5, 60.5, 69.5], abs=0.02)


def test_edges_of_a_footprint_may_be_counted_from_the_corner_of_a_box():
    info = sub("a", rotation=30.0)
    footprint = footprint_of(info, plan_canvas([info], 0.0, 10.0))
    here, there = np.array([41.0, 33.0, 1.0]), np.array([41.0 - 17.0, 33.0 - 5.0, 1.0])
    np.testing.assert_allclose(footprint.edges_in(Box(5, 60, 17, 90)) @ there, footprint.edges @ here)


def test_east_is_left_and_north_is_up():
    canvas = plan_canvas([sub("a", rotation=30.0)], 0.0, 10.0)
    ra, dec = pixel_to_sky(canvas.wcs, np.array([10.0, 20.0, 10.0]), np.array([10.0, 10.0, 20.0]))
    assert ra[1] < ra[0]
    assert dec[2] > dec[0]


@pytest.mark.parametrize("ra", [0.0, 0.2, 359.9, 180.0])
def test_a_canvas_is_tangent_at_the_middle_of_the_subs_wherever_right_ascension_begins(ra):
    infos = [sub(str(k), ra=(ra + away) % 360.0) for k, away in enumerate((-0.3, 0.1, 0.3))]
    canvas = plan_canvas(infos, 0.0, 100.0)
    assert (canvas.wcs.wcs.crval[0] - ra + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-9)


def test_tiles_know_the_subs_that_touch_them():
    infos = [
        sub("left", ra=100.3),
        sub("middle"),
        sub("right", ra=99.7),
        sub("turned", ra=100.0, dec=30.3, rotation=45),
    ]
    canvas = plan_canvas(infos, 0.0, 100.0)
    footprints = [footprint_of(info, canvas) for info in infos]
    tiles = grid_tiles(infos, footprints, canvas, 0.5, 20.0)
    for number, info in enumerate(infos):
        grid_y, grid_x = np.mgrid[0 : canvas.shape[0] : 3, 0 : canvas.shape[1] : 3]
        x, y = sky_to_pixel(
            info.wcs, *pixel_to_sky(canvas.wcs, grid_x.ravel().astype(float), grid_y.ravel().astype(float))
        )
        inside = (x > 0) & (y > 0) & (x < SHAPE[1] - 1) & (y < SHAPE[0] - 1)
        for tile in tiles:
            outer = tile.outer
            gy, gx = grid_y.ravel()[inside], grid_x.ravel()[inside]
            hit = ((gy >= outer.y0) & (gy < outer.y1) & (gx >= outer.x0) & (gx < outer.x1)).any()
            assert not hit or number in tile.subs
    assert all(tile.subs for tile in tiles)
    assert sum(len(tile.subs) for tile in tiles) < len(tiles) * len(infos)


def test_the_canvas_holds_sides_that_distortions_bow_out():
    from astropy.io import fits

    header = sub("a").wcs.to_header()
    header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_0_2=4e-3, B_2_0=-6e-3)
    info = replace(sub("a"), wcs=WCS(fits.Header(header)))
    canvas = plan_canvas([info], 0.0, 10.0)
    outline = footprint_polygon(info.wcs, info.shape, canvas.wcs)
    assert (outline > -0.5).all()
    assert (outline < np.array(canvas.shape[::-1]) - 0.5).all()


def test_thousands_of_subs_of_one_place_are_compared_quickly():
    infos = [sub(f"s{i}", ra=100 + 1e-4 * (i % 50)) for i in range(50)] * 200 + [sub("lost", ra=200.0)]
    tracemalloc.start()
    kept, rejected = split_by_agreement(infos, 3.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept) == 10_000
    assert names(rejected) == ["lost"]
    assert peak < 30e6
