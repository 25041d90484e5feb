"""From arrays to a mosaic, as in a notebook: subs, a run of Grid Mode, the mosaic as arrays, and a stack of arrays.

Give it a folder to work in: ``python docs/examples/from_python.py FOLDER``.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from reproject import reproject_interp

from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_stack_core import stack_core
from zemosaic_worker import run_grid

work = Path(sys.argv[1])
work.mkdir(exist_ok=True)

# --- subs: here simulated and written anew from arrays; a header needs a WCS, and BAYERPAT for a colour camera
simulate_survey(work / "simulated", PRESETS["tiny"], seed=1)
(work / "subs").mkdir()
for path in sorted((work / "simulated").glob("*.fits")):
    with fits.open(path) as hdus:
        pixels, header = hdus[0].data, hdus[0].header
    fits.PrimaryHDU(pixels, header).writeto(work / "subs" / path.name)


# --- a run: the sink receives every event; the token stops the run from another thread
def sink(event):
    """Print warnings and figures; ignore progress."""
    if isinstance(event, LogLine) and (event.level == "WARN" or "METRICS" in event.line):
        print(event.line)


cancel = CancelToken()  # cancel.cancel() ends the run within two seconds
outcome = run_grid(work / "subs", work / "mosaic", GridSettings(threads=2), sink, cancel)
print(f"{outcome.grid.subs_used} subs in {outcome.grid.mosaic}")

# --- the mosaic: (3, H, W) in ADU, NaN where nothing is; naxis=2, because the third axis is colour
with fits.open(outcome.grid.mosaic) as hdus:
    mosaic, header = hdus[0].data, hdus[0].header
    coverage, weight = hdus["COVERAGE"].data, hdus["WEIGHT"].data
sky = WCS(header, naxis=2)
print(f"{mosaic.shape}, {sky.proj_plane_pixel_scales()[0].to_value('arcsec'):.2f} arcsec a pixel")

# --- the same onto another grid with reproject
target = sky.deepcopy()
target.wcs.cdelt *= 2.0
target.wcs.crpix = (target.wcs.crpix + 0.5) / 2.0
shape = (mosaic.shape[1] // 2, mosaic.shape[2] // 2)
green, _ = reproject_interp((mosaic[1], sky), target, shape_out=shape)
assert np.nanmedian(green) > 0.0

# --- a stack of arrays without files: (H, W) or (H, W, C), NaN or masked where invalid
rng = np.random.default_rng(1)
images = [np.float32(500.0 + rng.normal(0.0, 5.0, (128, 128))) for _ in range(8)]
images[3][40] = 9000.0  # a trail
stacked, rejected_pct, weight_sum = stack_core(images, stack_config={"stack_reject_algo": "kappa_sigma"})
print(f"stack: {np.median(stacked):.1f} ADU, {rejected_pct:.2f} % of the samples rejected")
assert abs(float(np.median(stacked[40])) - 500.0) < 10.0
