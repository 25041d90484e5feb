"""Headers of every dialect mean what astropy says they mean; broken ones mean what their solver meant."""

import math
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from zemosaic_engine.fits.headers import HeaderCards, celestial_wcs, image_center_deg, parse_value, pixel_scale_arcsec

SHAPE = (200, 300)
SCALE = 2.4 / 3600
ANGLE = math.radians(25.0)
COS, SIN = math.cos(ANGLE), math.sin(ANGLE)
POINTS = np.array([[0.0, 0.0], [299, 0], [0, 199], [299, 199], [150.3, 99.7], [12.2, 160.9]])

BASE = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 150.5, "CRPIX2": 100.5}
CD = {"CD1_1": -SCALE * COS, "CD1_2": SCALE * SIN, "CD2_1": SCALE * SIN, "CD2_2": SCALE * COS}
PC_CDELT = {"PC1_1": COS, "PC1_2": -SIN, "PC2_1": -SIN, "PC2_2": -COS, "CDELT1": -SCALE, "CDELT2": -SCALE}
CROTA = {"CDELT1": -SCALE, "CDELT2": 1.1 * SCALE, "CROTA2": 25.0}
SIP = {
    "A_ORDER": 2, "A_2_0": 3e-6, "A_1_1": -2e-6, "A_0_2": 1e-6,
    "B_ORDER": 2, "B_2_0": -1e-6, "B_1_1": 2e-6, "B_0_2": 4e-6,
}  # fmt: skip
TPV = {"PV1_0": 1e-5, "PV1_1": 1.001, "PV1_2": 2e-4, "PV1_4": 3e-3, "PV2_1": 0.999, "PV2_6": -2e-3, "PV2_7": 5e-3}


def astropy_sky(cards, points=POINTS):
    """What astropy makes of a header that keeps the standard, as (ra, dec) in ICRS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(fits.Header(list(cards.items()))).pixel_to_world(points[:, 0], points[:, 1]).icrs


def separation_arcsec(wcs, sky, points=POINTS):
    ra, dec = wcs.all_pix2world(points, 0).T
    return SkyCoord(ra * u.deg, dec * u.deg).separation(sky).arcsec.max()


@pytest.mark.parametrize(
    "cards",
    [
        BASE | CD,
        BASE | PC_CDELT,
        BASE | CROTA,
        BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
        BASE | CD | TPV | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"},
        BASE | CD | TPV,  # SCAMP's TAN with a polynomial
        BASE | CROTA | {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"},
        BASE | CROTA | {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL2": 0.0},
        BASE | CD | {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 40.0},
        BASE | CROTA | {"CTYPE1": "RA---ARC", "CTYPE2": "DEC--ARC", "PV1_1": 0.0, "PV1_2": 80.0},
        BASE | CD | {"LONPOLE": 150.0, "LATPOLE": 0.0},
        BASE | {"CDELT1": -2.4, "CDELT2": 2.4, "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 3600.0},
        BASE | CD | {"CRVAL1": 0.01, "CRVAL2": 89.97},
    ],
    ids=["cd", "pc", "crota", "sip", "tpv", "scamp", "sin", "car", "zpn", "arc", "lonpole", "arcsec", "pole"],
)
def test_dialects_agree_with_astropy(cards):
    sky = astropy_sky(cards)
    assert separation_arcsec(celestial_wcs(cards, SHAPE), sky) < 1e-5
    # The same from an astropy header
    assert separation_arcsec(celestial_wcs(fits.Header(list(cards.items())), SHAPE), sky) < 1e-5


@pytest.mark.parametrize(
    ("broken", "meant"),
    [
        (BASE | CD | CROTA, BASE | CD),
        (BASE | CD | PC_CDELT, BASE | CD),
        (BASE | CROTA | dict.fromkeys(CD, 0.0), BASE | CROTA),
        (BASE | {"CDELT1": -SCALE, "CDELT2": 1.1 * SCALE, "CROTA1": 25.0}, BASE | CROTA),
        (BASE | CD | SIP, BASE | CD),
        (BASE | CD | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}, BASE | CD),
        (BASE | CD | {"PV1_1": 0.0, "PV1_2": 0.0}, BASE | CD),
        (BASE | CD | {"PV1_1": 0.0, "PV1_2": 0.0, "PV2_1": 0.0, "PV2_2": 0.0}, BASE | CD),
        (
            BASE | CD | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 0.0, "PV2_1": 0.0, "PV2_6": 0.0},
            BASE | CD,
        ),
        (
            BASE | CD | SIP | TPV | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"},
            BASE | CD | TPV | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"},
        ),
        (BASE | CD | {"CRVAL1": "83.8", "CD1_1": f"{-SCALE * COS:.17g}"}, BASE | CD),
        (BASE | CD | {"CTYPE1": "ra---tan", "CTYPE2": "dec--tan ", "CUNIT1": "DEG", "CUNIT2": ""}, BASE | CD),
        (
            BASE | {key.replace("PC1_", "PC00100").replace("PC2_", "PC00200"): v for key, v in PC_CDELT.items()},
            BASE | PC_CDELT,
        ),
        (BASE | CD | {"EQUINOX": 0.0}, BASE | CD),
        (BASE | CD | {"RADESYS": "FK5", "EQUINOX": 2000.0}, BASE | CD),
        (
            BASE | CD | SIP | TPV | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
            BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
        ),
        (
            BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN"},
            BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
        ),
    ],
    ids=[
        "cd+crota",
        "cd+pc",
        "zero-cd",
        "crota1",
        "stale-sip",
        "empty-sip",
        "pv-zero",
        "pv-zeros",
        "tpv-zero",
        "tpv+sip",
        "text",
        "capitals",
        "pc001",
        "equinox-0",
        "fk5-2000",
        "sip+pv",
        "half-sip",
    ],
)
def test_broken_headers_mean_what_was_meant(broken, meant):
    assert separation_arcsec(celestial_wcs(broken, SHAPE), astropy_sky(meant)) < 1e-5


def test_declination_first():
    cards = {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -5.4, "CRVAL2": 83.8, "CRPIX1": 150.5,
             "CRPIX2": 100.5}  # fmt: skip
    turned = {"CDELT1": -SCALE, "CDELT2": 1.1 * SCALE, "CROTA1": 25.0}  # CROTA belongs to the axis of declination
    for form in ({"CD1_1": SCALE, "CD1_2": 2e-5, "CD2_1": -1e-5, "CD2_2": -SCALE}, turned):
        assert separation_arcsec(celestial_wcs(cards | form, SHAPE), astropy_sky(cards | form)) < 1e-5


@pytest.mark.parametrize("first", [1, 2])
def test_colour_axis_is_dropped(first):
    """A cube whose colour axis is the last FITS axis, or the first with the sky on axes 2 and 3."""
    colour = 3 if first == 1 else 1
    moved = {"1": str(first), "2": str(first + 1)}
    renamed = {re.sub("[12]", lambda digit: moved[digit[0]], key): value for key, value in (BASE | PC_CDELT).items()}
    renamed |= {f"CTYPE{colour}": "RGB", f"CRVAL{colour}": 1.0, f"CDELT{colour}": 1.0}
    assert separation_arcsec(celestial_wcs(renamed, SHAPE), astropy_sky(BASE | PC_CDELT)) < 1e-5


@pytest.mark.parametrize(
    ("system", "frame"),
    [
        ({"RADESYS": "FK5", "EQUINOX": 2025.4}, FK5(equinox="J2025.4")),
        ({"EQUINOX": 2025.4}, FK5(equinox="J2025.4")),
        ({"EPOCH": 1950.0}, FK4(equinox="B1950")),
        ({"RADESYS": "FK4"}, FK4(equinox="B1950")),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 209.0, "CRVAL2": -19.4}, Galactic()),
        ({"RADESYS": "FK5", "EQUINOX": 2025.4, "CRVAL2": 89.5, "LONPOLE": 170.0}, FK5(equinox="J2025.4")),
        ({"RADESYS": "ICRS", "EQUINOX": 2025.4}, None),
    ],
    ids=["fk5", "equinox", "epoch", "fk4", "galactic", "pole", "icrs"],
)
@pytest.mark.parametrize("distortion", [{}, TPV | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}], ids=["tan", "tpv"])
def test_other_frames_become_icrs(system, frame, distortion):
    if "CTYPE1" in system and distortion:
        distortion = TPV | {"CTYPE1": "GLON-TPV", "CTYPE2": "GLAT-TPV"}
    plain = {key: value for key, value in (BASE | CD | system | distortion).items()
             if key not in ("RADESYS", "EQUINOX", "EPOCH")}  # fmt: skip
    plain |= {"CTYPE1": plain["CTYPE1"].replace("GLON", "RA--"), "CTYPE2": plain["CTYPE2"].replace("GLAT", "DEC-")}
    ra, dec = astropy_sky(plain).ra, astropy_sky(plain).dec
    truth = SkyCoord(ra, dec) if frame is None else SkyCoord(ra, dec, frame=frame).icrs
    wcs = celestial_wcs(BASE | CD | system | distortion, SHAPE)
    assert separation_arcsec(wcs, truth) < 0.01
    assert wcs.wcs.radesys == "ICRS"


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({}, "not plate-solved"),
        ({"RA": 10.0, "DEC": 20.0, "OBJCTRA": "1 2 3"}, "not plate-solved"),
        (BASE | CD | {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "no celestial WCS"),
        (BASE | CD | {"CTYPE2": "GLAT-TAN"}, "mixes"),
        (BASE | CD | {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}, "TNX.*not supported"),
        (BASE | CD | {"CTYPE1": "RA---TAN-TPD", "CTYPE2": "DEC--TAN-TPD"}, "TPD.*not supported"),
        ({k: v for k, v in (BASE | CD).items() if k != "CRVAL1"}, "CRVAL1 is missing"),
        (BASE | CD | {"CRVAL2": "unknown"}, "CRVAL2 is 'unknown'"),
        (BASE | CD | {"CRVAL1": "05:34:32"}, "CRVAL1 is '05:34:32'"),
        (BASE | CD | {"CRVAL2": 95.0}, "95 degrees"),
        (BASE, "no pixel scale"),
        (BASE | {"CDELT1": 0.0, "CDELT2": 0.0}, "pixel scale of zero"),
        (BASE | CD | {"CUNIT1": "Hz"}, "'Hz'"),
        (BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "A_ORDER": 12}, "order 12"),
        (BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "A_2_0": 0.5}, "moves a corner by"),
        (BASE | CD | {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"}, "galactic"),
        (BASE | CD | {"CRPIX1": 1e9}, "centre|scale"),
    ],
)
def test_useless_headers_say_why(cards, reason):
    if cards.get("CRPIX1") == 1e9:
        cards = cards | {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}
    with pytest.raises(ValueError, match=reason):
        celestial_wcs(cards, SHAPE)


@pytest.mark.parametrize("kind", ["SIP", "TPV"])
def test_threads_may_share_a_wcs(kind):
    """Astropy's own WCS fails this: its distortions are evaluated in memory that the threads share."""
    distortion = SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    if kind == "TPV":
        distortion = TPV | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}
    wcs = celestial_wcs(BASE | CD | distortion, SHAPE)
    points = np.random.default_rng(0).uniform(0, 200, (150_000, 2))
    sky = wcs.all_pix2world(points, 0)
    back = wcs.all_world2pix(sky[:2000], 0)

    def same(_):
        here = np.array_equal(wcs.all_pix2world(points.copy(), 0), sky)
        return here and np.array_equal(wcs.all_world2pix(sky[:2000].copy(), 0), back)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(same, range(16)))


def test_wcs_can_be_pickled_and_copied():
    wcs = celestial_wcs(BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}, SHAPE)
    for other in (pickle.loads(pickle.dumps(wcs)), wcs.deepcopy(), wcs.celestial):
        assert type(other) is type(wcs)
        np.testing.assert_allclose(other.all_pix2world(POINTS, 0), wcs.all_pix2world(POINTS, 0), atol=1e-11)


def test_pixel_scale_and_centre():
    wcs = celestial_wcs(BASE | CROTA, SHAPE)
    assert pixel_scale_arcsec(wcs, SHAPE) == pytest.approx(2.4 * math.sqrt(1.1), rel=1e-6)
    assert image_center_deg(wcs, SHAPE) == pytest.approx((83.8, -5.4), abs=1e-9)
    across_zero = celestial_wcs(BASE | CD | {"CRVAL1": -0.001, "CRVAL2": 80.0}, SHAPE)
    assert pixel_scale_arcsec(across_zero, SHAPE) == pytest.approx(2.4, rel=1e-6)
    assert image_center_deg(across_zero, SHAPE)[0] == pytest.approx(359.999, abs=1e-9)
    distorted = celestial_wcs(BASE | CD | SIP | {"CTYPE1": "RA---TAN-SIP"} | {"CRPIX1": 0.0}, SHAPE)
    assert pixel_scale_arcsec(distorted, SHAPE) != pytest.approx(2.4, rel=1e-6)


# --- cards


def block(*cards):
    return "".join(card.ljust(80) for card in (*cards, "END")).encode("latin-1")


def test_cards_are_parsed_as_astropy_does():
    header = fits.Header()
    header["TEXT"] = ("it's 'quoted' / here", "comment")
    header["LONG"] = "x" * 150 + "&"
    header["INT"], header["BIG"], header["FLOAT"], header["SMALL"] = -12, 777777701, 1.5e-7, 3.0
    header["YES"], header["NO"] = True, False
    header["HIERARCH ESO DET NAME"] = "camera"
    header["UNDEF"] = None
    header["COMMENT"] = "END of comments = 3"
    header["HISTORY"] = "A = 'b'"
    cards = HeaderCards.parse(header.tostring().encode("ascii"))
    expected = {
        card.keyword: card.value for card in header.cards if card.keyword not in ("UNDEF", "COMMENT", "HISTORY")
    }
    assert dict(cards) == expected
    assert dict(HeaderCards.from_header(header)) == expected


def test_broken_cards_are_left_out_and_later_ones_hold():
    cards = HeaderCards.parse(
        block(
            "CRVAL1  = 1.0", "CRVAL1  = 2.0", "EXPTIME = 1.5D+1 / seconds", "NOQUOTE = 'open string", "EMPTY   =",
            "BAD     = 12 34", "COMPLEX = (1, 2)", "\xff\xfeGARB = \xe9", "NOVALUE   3.0", "FILTER  = '        '",
            "LOWER   = 't'", "ONLYCOM = / nothing", "HIERARCH nonsense", "NAN     = NaN",
        )
    )  # fmt: skip
    assert dict(cards) == {"CRVAL1": 2.0, "EXPTIME": 15.0, "NOQUOTE": "open string", "FILTER": "", "LOWER": "t"}


def test_typed_access():
    cards = HeaderCards({"A": "  ", "B": " x ", "N": "10.5 s", "I": 3.0, "T": True, "BAD": "abc"})
    assert cards.text("A", "MISSING", "B") == "x"
    assert cards.text("A") == ""
    assert cards.number("BAD", "N") == 10.5
    assert math.isnan(cards.number("T", "A", "MISSING"))
    assert cards.integer("I") == 3
    assert cards.integer("BAD", 7) == 7
    assert cards.flag("T")
    assert not cards.flag("I")


@pytest.mark.parametrize(
    ("field", "text"), [("''", ""), ("''  / nothing", ""), ("''''", "'"), ("'a''b' / c", "a'b"), ("' '", "")]
)
def test_quotes_of_text_are_no_part_of_it(field, text):
    assert parse_value(field) == text


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=70))
def test_any_card_can_be_parsed(text):
    value = parse_value(text)
    assert value is None or isinstance(value, (str, int, float, bool))
    HeaderCards.parse(text.encode("latin-1"))


def test_the_inverse_distortion_has_the_order_of_its_longer_axis():
    inverse = {"AP_ORDER": 2, "AP_1_0": 1e-5, "BP_ORDER": 3, "BP_0_3": 2e-9}
    cards = HeaderCards(BASE | CD | SIP | inverse | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"})
    sip = celestial_wcs(cards, SHAPE).sip
    assert sip.ap.shape == sip.bp.shape == (4, 4)
    assert (sip.ap[1, 0], sip.bp[0, 3]) == (1e-5, 2e-9)
