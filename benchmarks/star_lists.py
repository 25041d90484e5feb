"""Star lists of simulated subs without a pixel: where the stars are by the truth, with the errors of a measurement."""

from pathlib import Path

import numpy as np

from zemosaic_engine.astrometry.star_places import StarPlaces
from zemosaic_engine.astrometry.sub_frames import frame_grid, local_axes
from zemosaic_engine.fits.headers import celestial_wcs, unit_vectors
from zemosaic_engine.simulate.survey import PRESETS, plan_survey

SMALL = PRESETS["small"].but(stars_per_mpx=150.0, wcs_flavour="sip", hot_pixel_fraction=0.0)


class Survey:
    """A survey as the registration sees it: headers, shapes, cameras and star lists, with the truth beside them."""

    def __init__(self, spec=SMALL, seed=1, noise_px=0.03, false_stars=3, brightest=60):
        self.truth = plan_survey(Path("x"), spec, seed)
        self.count = len(self.truth.subs)
        self.shapes = [self.truth.telescope(i).shape for i in range(self.count)]
        self.true = [self.truth.wcs(i) for i in range(self.count)]
        self.headers = [celestial_wcs(self._header(i), self.shapes[i]) for i in range(self.count)]
        self.cameras = [self.truth.telescope(i).name for i in range(self.count)]
        rng = np.random.default_rng([seed, 99])
        self.stars = [self._stars(i, rng, noise_px, false_stars, brightest) for i in range(self.count)]

    def _header(self, index):
        return self.truth.wcs(index, written=True).to_header(relax=True)

    def _stars(self, index, rng, noise_px, false_stars, brightest):
        height, width = self.shapes[index]
        number, xy = self.truth.scene.star_pixels(self.true[index], (height, width), -8.0)
        flux = self.truth.scene.flux_adu[number].sum(axis=1)
        order = np.argsort(-flux)[:brightest]
        xy = xy[order] + rng.normal(0.0, noise_px, (len(order), 2))
        wrong = rng.uniform(0.0, 1.0, (false_stars, 2)) * (width - 1, height - 1)
        xy, flux = np.concatenate([xy, wrong]), np.concatenate([flux[order], np.full(false_stars, flux.min())])
        return StarPlaces(xy[:, 0].copy(), xy[:, 1].copy(), np.full(len(xy), noise_px), flux, 2.8)

    def catalogue_places(self, count=150, error_arcsec=0.1, seed=5):
        """Places of the brightest stars with errors of a catalogue."""
        order = np.argsort(-self.truth.scene.flux_adu.sum(axis=1))[:count]
        off = np.random.default_rng(seed).normal(0.0, error_arcsec / 3600.0, (2, count))
        dec = self.truth.scene.dec_deg[order] + off[1]
        return self.truth.scene.ra_deg[order] + off[0] / np.cos(np.radians(dec)), dec

    def errors_px(self, wcs_of, chosen=None):
        """Solved minus true place over the frames, (subs, 81, 2) in pixels to the east and the north."""
        errors = []
        for index in range(self.count) if chosen is None else chosen:
            x, y = frame_grid(self.shapes[index])
            solved = unit_vectors(*wcs_of(index).all_pix2world(x.copy(), y.copy(), 0))
            true = unit_vectors(*self.true[index].all_pix2world(x.copy(), y.copy(), 0))
            scale = np.radians(self.truth.telescope(index).scale_arcsec / 3600.0)
            errors.append(
                np.stack([np.sum((solved - true) * axis, axis=1) for axis in local_axes(true)], axis=1) / scale
            )
        return np.array(errors)

    def places_px(self, chosen=None):
        """True places over the frames on a plane around the survey's centre, (subs, 81, 2) in pixels."""
        from zemosaic_engine.astrometry.matching import flat_places

        middle = unit_vectors(*(np.array([angle]) for angle in self.truth.spec.center_deg))[0]
        scale = np.radians(self.truth.telescope(0).scale_arcsec / 3600.0)
        places = []
        for index in range(self.count) if chosen is None else chosen:
            x, y = frame_grid(self.shapes[index])
            true = unit_vectors(*self.true[index].all_pix2world(x.copy(), y.copy(), 0))
            places.append(flat_places(true, middle) / scale)
        return np.array(places)


def without_gauge(errors, places):
    """Errors less the shift, rotation and scale of the whole, which stars alone cannot tell."""
    flat, at = errors.reshape(-1, 2), places.reshape(-1, 2)
    one, nil = np.ones(len(at)), np.zeros(len(at))
    design = np.concatenate(
        [np.stack([one, nil, at[:, 0], -at[:, 1]], axis=1), np.stack([nil, one, at[:, 1], at[:, 0]], axis=1)]
    )
    both = flat.T.ravel()
    return (both - design @ np.linalg.lstsq(design, both, rcond=None)[0]).reshape(2, -1).T.reshape(errors.shape)


def rms(errors):
    """Root mean square length."""
    return float(np.sqrt(np.mean(np.sum(errors**2, axis=-1))))
