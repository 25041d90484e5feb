"""The simulated surveys on which survey photometry is measured, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zemosaic_engine.simulate.survey import SurveySpec, SurveyTruth, Telescope, plan_survey, simulate_survey

# Small sensors, so that five surveys with three seeds and three runs each take a quarter of an hour.
# What they lose in area they get back in stars: as many per frame as a full sensor would show.
_SENSOR = Telescope(shape=(800, 450), mirrored=True, wcs_flavour="sip")
_OTHER_SENSOR = Telescope(
    name="wide",
    shape=(560, 640),
    scale_arcsec=2.9,
    exposure_s=20.0,
    throughput=(0.80, 0.90, 0.70),
    sensor="RGGB",
    fwhm_px=2.5,
)


@dataclass(frozen=True)
class Survey:
    """A survey to be measured.

    Attributes
    ----------
    title : str
        What is hard about it.
    spec : SurveySpec
        What is simulated.
    low_frequency_ratio, region_ratio : float
        How much larger than the oracle's the background error and the scatter of the zero point
        between regions may be.
    """

    title: str
    spec: SurveySpec
    low_frequency_ratio: float = 1.5
    region_ratio: float = 1.3

    def plan(self, folder: Path, seed: int) -> SurveyTruth:
        """Everything but the pixels."""
        return plan_survey(folder, self.spec, seed)

    def simulate(self, folder: Path, seed: int) -> SurveyTruth:
        """Write the subs."""
        return simulate_survey(folder, self.spec, seed)


_PLAIN = SurveySpec(
    panels=(2, 3), subs_per_panel=6, nights=3, telescopes=(_SENSOR,), stars_per_mpx=2000.0, pedestal_adu=300.0
)

SURVEYS: dict[str, Survey] = {
    "plain": Survey("2x3 panels, three nights", _PLAIN),
    "gradients": Survey(
        "sky brighter by 30 % from corner to corner, turning with the field; 8 % of vignetting",
        _PLAIN.but(gradient=0.3, rotation_deg=25.0, vignetting=0.08),
    ),
    "nebula": Survey(
        "nebula as bright as the sky over the whole field", _PLAIN.but(nebula="full-field", nebula_adu=1000.0)
    ),
    "chain": Survey(
        "1x8 panels that share 15 % with their neighbours, two nights",
        _PLAIN.but(panels=(1, 8), overlap=0.15, subs_per_panel=4, nights=2),
        low_frequency_ratio=2.5,
    ),
    "glow": Survey("190 ADU of amplifier glow in one corner of the sensor", _PLAIN.but(glow_adu=190.0)),
    "moon": Survey(
        "2500 ADU of moonlit sky, brighter by 24 % from edge to edge and curved by 3 %, turning with the field",
        _PLAIN.but(sky_adu=2500.0, gradient=0.24, curvature=0.03),
        low_frequency_ratio=2.0,
    ),
    "large": Survey(
        "3x3 panels of 1080x1920, as many subs as a night gives",
        _PLAIN.but(panels=(3, 3), subs_per_panel=6, shape=(1920, 1080), stars_per_mpx=800.0),
    ),
    "two telescopes": Survey(
        "10 s at 2.37 arcsec and 20 s at 2.9 arcsec, other colours and another field",
        _PLAIN.but(nights=2, subs_per_panel=6).model_copy(update={"telescopes": (_SENSOR, _OTHER_SENSOR)}),
    ),
}


def quick(survey: Survey) -> Survey:
    """The same survey with a quarter of the pixels and fewer subs, for a first look."""
    spec = survey.spec
    telescopes = tuple(
        t.model_copy(update={"shape": (t.shape[0] // 4 * 2, t.shape[1] // 4 * 2)}) for t in spec.telescopes
    )
    changes = {"telescopes": telescopes, "subs_per_panel": min(4, spec.subs_per_panel), "stars_per_mpx": 4000.0}
    return Survey(survey.title, spec.model_copy(update=changes), survey.low_frequency_ratio, survey.region_ratio)
