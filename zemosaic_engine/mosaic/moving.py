"""Says what moved between the subs of a run."""

from __future__ import annotations

import numpy as np

from ..canvas.coordinates import pixel_to_sky
from ..photometry.moving import find_tracks
from ..run.run import Run
from ..sentences import say
from ..tiles.tile import TileSet


def report_moving(run: Run, tile_set: TileSet) -> None:
    """Warn of a comet, or whatever else moves, which a stack on the stars has cut to pieces."""
    dates, sessions = [info.date_obs for info in run.subs], [info.session for info in run.subs]
    scale = run.canvas.pixel_scale_arcsec
    for track in find_tracks(tile_set.sightings, dates, sessions):
        first, last = track.sightings[0], track.sightings[-1]
        ra, dec = pixel_to_sky(run.canvas.wcs, np.array([first.x, last.x]), np.array([first.y, last.y]))
        run.reporter.log(
            say(
                "Something moves: {n} subs show it, from RA {ra:.4f} Dec {dec:+.4f} in {first} to RA {ra2:.4f} Dec "
                "{dec2:+.4f} in {last}, {px:.1f} px a sub, {speed:.2f} arcsec a minute. A comet? The stack follows the "
                "stars and has cut it to pieces; docs/stars.md says what to do.",
                n=len(track.sightings), ra=float(ra[0]), dec=float(dec[0]), first=run.subs[first.sub].path.name,
                ra2=float(ra[1]), dec2=float(dec[1]), last=run.subs[last.sub].path.name, px=track.speed_px,
                speed=60.0 * scale * track.speed_px_s,
            ),
            "WARN",
        )  # fmt: skip
