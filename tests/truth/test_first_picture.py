"""The first picture of a mosaic, made of single subs, against the mosaic that comes of them."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_app.presenter.first_picture import PlacedSub, fewest_subs, lay, placed_subs
from zemosaic_app.presenter.folder_look import look_into
from zemosaic_app.presenter.mosaic_preview import Look, MosaicPreview
from zemosaic_engine.settings import GridSettings

LATER = 1e18  # no tile is as new


@pytest.fixture(scope="module")
def contents(survey):
    return look_into(survey, GridSettings())


def preview_of(contents, output):
    subs = placed_subs(contents)
    return MosaicPreview(output, contents.canvas_shape, contents.canvas_header, planned=contents.tiles, subs=subs)


def all_laid(preview):
    while preview.grow(LATER):
        pass
    return preview


def image_of(preview):
    return preview._layers["image"]


def test_single_subs_cover_the_canvas_and_their_stars_are_those_of_the_mosaic(contents, finished):
    preview, mosaic = all_laid(preview_of(contents, finished)), MosaicPreview(finished)
    mosaic.finish(finished / "mosaic_grid.fits")
    first, last = image_of(preview), image_of(mosaic)
    rows, columns = (min(sides) for sides in zip(first.shape[:2], last.shape[:2], strict=True))
    first, last = first[:rows, :columns, 1], last[:rows, :columns, 1]
    there = np.isfinite(last)
    assert np.isfinite(first[there]).mean() > 0.95
    both = there & np.isfinite(first)
    stars = both & (last > np.nanmedian(last) + 200.0)
    assert stars.sum() > 50
    inside = [np.corrcoef(first[3 + dy : rows - 3 + dy, 3 + dx : columns - 3 + dx][stars[3:-3, 3:-3]],
                          last[3:-3, 3:-3][stars[3:-3, 3:-3]])[0, 1]
              for dy in (-2, 0, 2) for dx in (-2, 0, 2)]  # fmt: skip
    assert np.nanargmax(inside) == 4, "shifted by two pixels the stars fit better"
    assert inside[4] > 0.7


def test_subs_of_different_skies_lie_on_one_and_a_tile_brings_its_own(contents, finished):
    preview = all_laid(preview_of(contents, finished))
    assert len(preview._laid) < contents.subs
    medians = [np.nanmedian(sub.image) for sub in preview._laid]
    assert np.abs(medians).max() < 0.5
    raw = [float(sub.sky[1]) for sub in preview._laid]
    assert max(raw) - min(raw) > 20.0  # this is what would be seen
    sky = preview._sky.copy()
    assert preview.grow(0.0, most=1)
    image, of_subs = image_of(preview), preview._of_subs
    assert of_subs.any()
    tile = np.nanmedian(image[np.isfinite(image).all(axis=2) & ~of_subs], axis=0)
    assert np.abs(tile - sky).max() > 5.0
    assert np.abs(np.nanmedian(image[of_subs], axis=0) - tile).max() < 10.0
    while preview.grow(0.0):
        pass
    whole = preview._layers["coverage"] > 0
    assert not preview._of_subs[whole].any()


def test_a_single_sub_has_no_values_of_the_mosaic(contents, tmp_path):
    preview = all_laid(preview_of(contents, tmp_path))
    row, column = (int(axis.mean()) for axis in np.nonzero(preview._of_subs))
    height = preview.size[1]
    spot = preview.spot(column + 0.5, height - row - 0.5)
    assert np.isnan(spot.values).all()
    assert (spot.coverage, spot.weight) == (0.0, 0.0)
    assert spot.sky
    assert preview.picture(Look())[height - 1 - row, column].any()


def test_few_subs_are_enough_for_a_deep_field(contents):
    subs = placed_subs(contents)
    fewest = fewest_subs(subs, contents.canvas_shape)
    assert fewest_subs(subs * 5, contents.canvas_shape) == fewest
    assert len({sub.path for sub in fewest}) == len(fewest)


def test_a_sub_that_has_gone_is_passed_over(contents, tmp_path):
    first = placed_subs(contents)[0]
    assert lay(PlacedSub(tmp_path / "gone.fits", first.corners), 2) is None
    assert lay(PlacedSub(first.path, first.corners[:3]), 2) is None
    preview = preview_of(contents, tmp_path)
    preview._to_lay.insert(0, PlacedSub(tmp_path / "gone.fits", first.corners))
    all_laid(preview)
    assert preview._laid
