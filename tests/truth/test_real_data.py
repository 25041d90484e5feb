"""Real subs and tiles: the run ends with even pictures. Needs the folder named by ZEMOSAIC_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import least_squares

import zemosaic_worker
from benchmarks.star_parts import aperture_fluxes, stacked
from zemosaic_engine.canvas.pixel_maps import PixelMap
from zemosaic_engine.events import CancelToken
from zemosaic_engine.fits.reader import read_image
from zemosaic_engine.geometry import Box
from zemosaic_engine.photometry.stars import detect_stars
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs.demosaic import demosaic
from zemosaic_engine.subs.frames import load_frame, read_stored_pixels, read_sub_info

DATA = Path(os.environ.get("ZEMOSAIC_DATA", "/nowhere"))

pytestmark = pytest.mark.real


def real(folder):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no {folder} in ZEMOSAIC_DATA")
    return DATA / folder


def run(folder, output, **options):
    outcome = zemosaic_worker.run_grid(
        real(folder), output, GridSettings(), lambda event: None, CancelToken(), **options
    )
    seams = Table.read(output / "seams.ecsv")
    return outcome, seams[np.array(seams["kind"]) == "overlap"]


def test_m94_of_two_telescopes_and_three_nights(tmp_path):
    outcome, seams = run("seestar_m94", tmp_path)
    assert outcome.grid.subs_used == 15
    assert np.abs(seams["sigma_after"]).max() < 0.2
    with fits.open(outcome.grid.mosaic) as hdus:
        science, coverage = hdus[0].data, hdus["COVERAGE"].data
    assert coverage.max() == 15
    levels = [np.nanmedian(plane) for plane in science]
    assert np.ptp(levels) < 5.0  # neutral sky
    assert np.nanmax(science) > 20_000  # the core of the galaxy and the stars
    log = outcome.log.read_text()
    assert "RGB equalisation gains" in log
    assert "gain 1.00000 1.00000 1.00000" in log
    check_colours(output=tmp_path, header=fits.getheader(outcome.grid.mosaic))


def test_rejection_leaves_the_stars_of_m94_their_light(tmp_path):
    """Three sessions of two telescopes; without a term for their PSFs it took 12 to 24 mmag where they overlap."""
    methods = ("none", "winsorized_sigma_clip")
    plain, clipped = (
        stacked(real("seestar_m94"), tmp_path / one, stack_reject_algo=one, colour="sky") for one in methods
    )  # balanced by its own stars, each would have other colours
    stars = detect_stars(np.ascontiguousarray(np.moveaxis(plain.planes, 0, 2)), min_snr=60.0)
    xy = np.stack([stars.x, stars.y], axis=1)
    with np.errstate(invalid="ignore"):
        change = 2500.0 * np.log10(aperture_fluxes(clipped, xy) / aperture_fluxes(plain, xy))
    depth = plain.coverage[1, xy[:, 1].astype(int), xy[:, 0].astype(int)]
    known = np.isfinite(change).all(axis=1)
    for least in (5, 10):
        some = change[known & (depth > least) & (depth <= least + 5)]
        median = np.median(some, axis=0)
        error = 1.25 * 1.4826 * np.median(np.abs(some - median), axis=0) / np.sqrt(len(some))
        print(f"M 94, {len(some)} stars of {least + 1} to {least + 5} subs, change by rejection: "
              f"{np.round(median, 1)} +- {np.round(error, 1)} mmag")  # fmt: skip
        assert len(some) >= 10
        assert (np.abs(median) < 3.0 + 2.0 * error).all()
        assert error.max() < 5.0


def check_colours(output, header):
    """B-V of the Tycho-2 stars against what was measured: prints slope and scatter, and white lies where it should."""
    assert header["ZMCOLOUR"] == "catalogue"
    table = Table.read(output / "colours.ecsv")
    table = table[np.asarray(table["used"])]
    known, error = np.asarray(table["known_red"]), np.asarray(table["known_red_error"])
    assert len(table) >= 15
    blue_red = np.asarray(table["blue"]) - np.asarray(table["red"])
    slope, at = np.polyfit(known, blue_red, 1, w=1.0 / np.hypot(error, 0.05))
    off = blue_red - slope * known - at
    scatter = 1.4826 * np.median(np.abs(off - np.median(off)))
    print(
        f"M 94, {len(table)} stars of Tycho-2: B - R measured = {slope:.3f} (B-V) {at:+.3f} mag, scatter {scatter:.3f}"
    )
    assert 0.4 < slope < 1.2  # a little low, because B-V of the faint stars is uncertain by 0.2 mag
    assert scatter < 0.15
    assert slope * 0.653 + at == pytest.approx(0.0, abs=0.08)
    assert max(header[f"ZMCE{name}"] / header[f"ZMCF{name}"] for name in "RB") < 0.04


def own_samples(mosaic, bayer):
    """Each channel where it was measured, NaN elsewhere."""
    own = np.full((*mosaic.shape, 3), np.nan)
    for place, colour in enumerate(bayer):
        y, x = divmod(place, 2)
        own[y::2, x::2, "RGB".index(colour)] = mosaic[y::2, x::2]
    return own


def fitted_width(stamp):
    """Width of a Moffat profile fitted to the finite pixels of a stamp."""
    y, x = (axis - 7 for axis in np.mgrid[:15, :15])
    there, sky = np.isfinite(stamp), np.nanmedian(stamp)

    def misfit(p):
        square = ((x - p[1]) ** 2 + (y - p[2]) ** 2) / p[3] ** 2
        return (p[0] * (1 + square) ** -3 + p[4] - stamp)[there]

    return abs(least_squares(misfit, [np.nanmax(stamp) - sky, 0, 0, 2.5, sky]).x[3])


@pytest.fixture(scope="module")
def m94_sub():
    """Stored pixels of a sub, its pattern and the demosaiced pixels."""
    info = read_sub_info(sorted(real("seestar_m94").glob("*.fit*"))[0])
    stored = read_stored_pixels(info)
    return info, stored, demosaic(stored, info.bayer)


def test_demosaiced_stars_of_m94_are_as_wide_as_their_samples_in_each_colour(m94_sub):
    info, stored, pixels = m94_sub
    own, green = own_samples(stored, info.bayer), np.nan_to_num(pixels[..., 1])
    peaks = (green == maximum_filter(green, 15)) & (green > np.median(green) + 1200) & (green < 30000)
    widths = []
    for y, x in np.argwhere(peaks):
        around = slice(y - 7, y + 8), slice(x - 7, x + 8)
        if min(y, x) > 20 and own[around].shape[:2] == (15, 15) and np.isfinite(stored[around]).all():
            widths.append([[fitted_width(image[around][..., c]) for c in range(3)] for image in (own, pixels)])
    measured, demosaiced = np.moveaxis(np.array(widths), 1, 0)
    assert len(measured) >= 15
    for channel in (0, 2):
        truth = np.median(measured[:, channel] / measured[:, 1])
        assert np.median(demosaiced[:, channel] / demosaiced[:, 1]) == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("saturates", [False, True])
def test_no_pixel_of_m94_is_darker_than_the_samples_of_its_colour_around_it(saturates):
    """With saturated cores left out of the interpolation of green, red is up to 44 sigma darker beside one star."""
    infos = [read_sub_info(path) for path in sorted(real("seestar_m94").glob("*.fit*"))]
    info = max(infos, key=saturated_pixels) if saturates else infos[0]
    assert saturated_pixels(info) > 2 or not saturates
    stored, pixels = read_stored_pixels(info), load_frame(info).pixels
    shift = 0.37  # of a resampling by a part of a pixel
    nodes = np.stack(np.meshgrid(np.arange(6) * 512.0, np.arange(6) * 512.0), axis=-1) + np.array([shift, -shift])
    box = Box(10, stored.shape[0] - 10, 10, stored.shape[1] - 10)
    resampled = resample(pixels, PixelMap(box, 512, 0, 0, nodes, 1.0, 0.0))
    own = own_samples(stored, info.bayer)
    for channel in range(3):
        samples = own[..., channel]
        noise = 1.4826 * np.nanmedian(np.abs(samples - np.nanmedian(samples)))
        lowest = minimum_filter(np.where(np.isfinite(samples), samples, np.inf), 7)[10:-10, 10:-10]
        below = (lowest - resampled[..., channel])[np.isfinite(resampled[..., channel]) & np.isfinite(lowest)]
        # Measured at most 3.6 sigma, in the noise of the sky; 12 with one share of green for all light.
        assert below.max() < 4.0 * noise


def saturated_pixels(info):
    return np.count_nonzero(read_image(info.path, info.hdu) >= info.saturation_adu)


@pytest.mark.parametrize(("folder", "tiles"), [("twomass_m17", 4), ("twomass_orion", 10)])
def test_tiles_of_a_survey_are_joined_without_steps(folder, tiles, tmp_path):
    outcome, seams = run(folder, tmp_path, tiles_only=True)
    assert outcome.grid.tiles == tiles
    before, after = np.abs(seams["sigma_before"]), np.abs(seams["sigma_after"])
    assert np.median(after) < 0.2
    assert after.max() < 0.65
    assert np.median(before) > 2 * np.median(after)
    assert f"{tiles} tiles in the mosaic" in outcome.log.read_text()
