"""Which calibration frames belong to a sub: pure functions over records, no file is read."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from zemosaic_engine.calibration_frames.files import master_path
from zemosaic_engine.calibration_frames.matching import match
from zemosaic_engine.calibration_frames.records import CalibrationFrame, Conditions, group_frames
from zemosaic_engine.calibration_frames.session import match_all
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.geometry import Box
from zemosaic_engine.subs.camera_setup import UNKNOWN_SETUP, CameraSetup
from zemosaic_engine.subs.frames import UnsolvedSub
from zemosaic_engine.subs.roles import Role

CAMERA = CameraSetup(camera="ASI533MC", telescope="APO", binning=(1, 1), gain=80.0, offset=20.0, temperature_c=-10.0)
DAY_S = 86400.0
TONIGHT_S = 1.75e9
LIGHT = Conditions((3008, 3008), False, "RGGB", 120.0, TONIGHT_S, "LP", CAMERA)


def frame(role, number=0, *, name="", is_master=False, is_given=False, **changes):
    """A record; `changes` are of its conditions, or of the setup of the camera."""
    setup = replace(CAMERA, **{k: changes.pop(k) for k in [*changes] if k in CameraSetup.__dataclass_fields__})
    conditions = replace(LIGHT, setup=setup, filter="", exposure_s=2.0 if "flat" in role else 0.001)
    if role is Role.FLAT:
        conditions = replace(conditions, filter="LP")
    conditions = replace(conditions, **changes)
    if role is Role.DARK and "exposure_s" not in changes:
        conditions = replace(conditions, exposure_s=120.0)
    conditions = replace(conditions, moment_s=conditions.moment_s + 60.0 * number)
    path = Path(f"/library/{role}/{name or role}_{number:03d}.fits")
    sub = UnsolvedSub(path, 0, conditions.shape, 1, None, conditions.exposure_s, header=HeaderCards({}))
    return CalibrationFrame(role, sub, conditions, is_master, is_given)


def some(role, count=5, **changes):
    return [frame(role, number, **changes) for number in range(count)]


def chosen(frames, light=LIGHT, **options):
    """Match, with the names of what was refused and why."""
    sets = group_frames(frames)
    found = match(light, sets, **options)
    return found, [str(found.refused[place]) for place in sorted(found.refused)]


def library():
    """200 frames of six kinds, of two cameras, two gains, three exposures, three temperatures and three months."""
    frames = []
    for gain in (80.0, 120.0):
        frames += some(Role.BIAS, 10, name=f"bias_g{gain:g}", gain=gain)
        for exposure_s in (60.0, 120.0, 300.0):
            for temperature_c in (-20.0, -10.0):
                frames += some(
                    Role.DARK, 10, name=f"dark_{exposure_s:g}_{temperature_c:g}_g{gain:g}", gain=gain,
                    exposure_s=exposure_s, temperature_c=temperature_c,
                )  # fmt: skip
    for month in range(2):
        moment_s = TONIGHT_S - 40 * DAY_S * month
        frames += some(Role.FLAT, 10, name=f"flat_LP_{month}", moment_s=moment_s)
        frames += some(Role.DARK_FLAT, 5, name=f"darkflat_{month}", moment_s=moment_s)
    frames += some(Role.FLAT, 10, name="flat_Ha", filter="Ha")
    frames += some(Role.DARK, 10, name="dark_other", camera="QHY268")
    frames += [frame(Role.DARK, name="master_dark", is_master=True, moment_s=TONIGHT_S - 100 * DAY_S)]
    frames += [frame(Role.FLAT, name="master_flat", is_master=True, moment_s=TONIGHT_S - 100 * DAY_S)]
    frames += some(Role.DARK, 8, name="dark_bin2", binning=(2, 2), shape=(1504, 1504))
    return frames


def test_the_file_of_a_master_tells_what_it_is_for():
    dark, flat = (master_path(Path("out"), group_frames(some(role))[0]) for role in (Role.DARK, Role.FLAT))
    assert dark.parent == Path("out")
    assert re.fullmatch(r"master_dark_ASI533MC_120s_gain80_-10C_3008x3008_[0-9a-f]{6}\.fits", dark.name)
    assert re.fullmatch(r"master_flat_ASI533MC_LP_2s_gain80_-10C_3008x3008_[0-9a-f]{6}\.fits", flat.name)
    others = [some(Role.DARK, name="other"), some(Role.DARK, gain=120.0), some(Role.DARK, camera="QHY268")]
    names = {dark.name, *(master_path(Path("out"), group_frames(frames)[0]).name for frames in others)}
    assert len(names) == 4, "no master is written over another"


def test_of_200_frames_of_six_kinds_each_light_gets_its_own():
    frames = library()
    assert len(frames) == 200
    kinds = {(one.role, one.is_master) for one in frames}
    assert len(kinds) == 6
    sets = group_frames(frames)
    assert sum(len(one.frames) for one in sets) == 200
    lights = {
        Path("a"): LIGHT,
        Path("b"): replace(LIGHT, exposure_s=300.0, setup=replace(CAMERA, gain=120.0, temperature_c=-19.0)),
        Path("c"): replace(LIGHT, filter="Ha", moment_s=TONIGHT_S - 39 * DAY_S),
        Path("d"): replace(LIGHT, filter="LP", moment_s=TONIGHT_S - 38 * DAY_S),
        Path("e"): replace(LIGHT, exposure_s=30.0),
        Path("f"): replace(LIGHT, setup=replace(CAMERA, gain=200.0)),
    }
    found = match_all(lights, sets)

    def names(path):
        one = found[Path(path)]
        return [
            None if part is None else part.frames[0].path.name[:-9]
            for part in (one.dark, one.bias, one.flat, one.flat_dark)
        ]

    assert names("a") == ["dark_120_-10_g80", None, "flat_LP_0", "darkflat_0"]
    assert names("b") == ["dark_300_-20_g120", None, None, None]
    assert names("c") == ["dark_120_-10_g80", None, "flat_Ha", "darkflat_0"]
    assert names("d") == ["dark_120_-10_g80", None, "flat_LP_1", "darkflat_1"]
    assert names("e") == ["dark_60_-10_g80", "bias_g80", "flat_LP_0", "darkflat_0"]
    assert found[Path("e")].dark_scale == pytest.approx(0.5)
    assert found[Path("e")].notes == ("dark of 60 s for lights of 30 s; scaled",)
    assert found[Path("f")].is_empty
    assert "gain 120 against 200" in found[Path("f")].refused.values()
    # Every set is used or has its reason, for each of the lights.
    for one in found.values():
        unused = [place for place, part in enumerate(sets) if not any(part is used for used in one.used)]
        roles = [sets[place].role for place in unused if place not in one.refused]
        assert set(roles) <= {Role.DARK_FLAT, Role.BIAS}  # which are asked for by flats and darks alone


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"camera": "QHY268"}, "camera QHY268 against ASI533MC"),
        ({"shape": (3008, 3000)}, "3000 x 3008 pixels against 3008 x 3008"),
        ({"binning": (2, 2)}, "binning 2x2 against 1x1"),
        ({"gain": 120.0}, "gain 120 against 80"),
        ({"offset": 50.0}, "offset 50 against 20"),
        ({"bayer": "GRBG"}, "Bayer pattern GRBG against RGGB"),
        ({"is_cube": True}, "one has three colours a pixel, the other has one"),
        ({"serial": "22"}, "camera 22 against 11"),
        ({"readout": "High"}, "readout mode High against Low"),
        ({"temperature_c": -6.5}, "temperature -6.5 °C against -10.0 °C"),
        ({"exposure_s": 123.0}, "dark of 123 s for lights of 120 s; to be scaled it needs a bias"),
    ],
)
def test_a_dark_that_differs_in_one_key_is_refused_by_its_name(change, reason):
    light = replace(LIGHT, setup=replace(CAMERA, serial="11", readout="Low"))
    found, why = chosen(some(Role.DARK, **change), light)
    assert found.dark is None
    assert why == [reason]


@pytest.mark.parametrize(
    "change", [{"temperature_c": -7.1}, {"exposure_s": 122.0}, {"gain": math.nan}, {"bayer": None}]
)
def test_within_the_tolerance_and_where_a_header_tells_nothing_a_dark_is_taken(change):
    found, why = chosen(some(Role.DARK, **change))
    assert found.dark is not None
    assert why == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"filter": "Ha"}, "filter Ha against LP"),
        ({"telescope": "SCT"}, "telescope SCT against APO"),
        ({"rotation_deg": 95.0}, "rotator at 95° against 5°"),
    ],
)
def test_flats_belong_to_their_filter_telescope_and_angle(change, reason):
    light = replace(LIGHT, setup=replace(CAMERA, rotation_deg=5.0))
    biases = some(Role.BIAS)
    assert chosen([*biases, *some(Role.FLAT, rotation_deg=6.0)], light)[0].flat is not None
    found, why = chosen([*biases, *some(Role.FLAT, **change)], light)
    assert found.flat is None
    assert why == [reason]


def test_the_angle_of_the_rotator_goes_round():
    light = replace(LIGHT, setup=replace(CAMERA, rotation_deg=359.5))
    assert chosen([*some(Role.BIAS), *some(Role.FLAT, rotation_deg=0.5)], light)[0].flat is not None


def test_among_equals_the_nearest_in_time_is_taken():
    flats = [*some(Role.FLAT, moment_s=TONIGHT_S - 3 * DAY_S), *some(Role.FLAT, moment_s=TONIGHT_S + DAY_S)]
    found, why = chosen([*some(Role.BIAS), *flats])
    assert found.flat.conditions.moment_s > TONIGHT_S
    assert why == ["another one is nearer in time, or larger"]


def test_among_darks_within_the_tolerance_the_nearest_in_temperature_is_taken():
    warmer = some(Role.DARK, temperature_c=-8.0, moment_s=TONIGHT_S)
    own = some(Role.DARK, temperature_c=-10.3, moment_s=TONIGHT_S - 60 * DAY_S)
    found, why = chosen([*warmer, *own])
    assert found.dark.conditions.setup.temperature_c == -10.3
    assert why == ["another one is nearer in temperature"]


# --- order and traps


def test_a_dark_is_scaled_only_where_a_bias_is_known():
    darks = some(Role.DARK, exposure_s=240.0)
    assert chosen(darks)[0].dark is None
    found, _ = chosen([*darks, *some(Role.BIAS)])
    assert found.dark is not None
    assert (found.dark_scale, found.notes) == (0.5, ("dark of 240 s for lights of 120 s; scaled",))
    assert found.bias is not None


def test_a_dark_carries_its_own_bias():
    found, _ = chosen([*some(Role.DARK), *some(Role.BIAS)])
    assert found.dark is not None
    assert found.bias is None


def test_a_flat_needs_the_offset_of_the_subs_and_its_own():
    flats = some(Role.FLAT)
    found, why = chosen(flats)
    assert found.flat is None
    assert why[0].startswith("nothing tells the offset of the subs")
    found, why = chosen([*some(Role.DARK), *flats])
    assert found.flat is None
    assert why == ["nothing takes their own offset off: give dark-flats or biases"]
    assert chosen([*some(Role.DARK), *flats, *some(Role.DARK_FLAT)])[0].flat is not None
    assert chosen([*some(Role.BIAS), *flats])[0].flat_dark.role is Role.BIAS
    assert chosen(flats, pedestal_adu=500.0)[0].flat is not None
    level = {"black_level_adu": 512.0}
    light = replace(LIGHT, setup=replace(CAMERA, **level))
    assert chosen(some(Role.FLAT, **level), light)[0].flat is not None
    overscan = {"overscan": Box(0, 3008, 3000, 3008)}
    light = replace(LIGHT, setup=replace(CAMERA, **overscan))
    assert chosen(some(Role.FLAT, **overscan), light)[0].flat is not None


def test_a_dark_flat_of_the_exposure_is_preferred_to_a_bias_and_that_to_another_exposure():
    flats = some(Role.FLAT)
    near, far = some(Role.DARK_FLAT, name="near"), some(Role.DARK_FLAT, name="far", exposure_s=9.0)
    biases = some(Role.BIAS)
    assert chosen([*flats, *near, *far, *biases])[0].flat_dark.frames[0].path.name.startswith("near")
    assert chosen([*flats, *far, *biases])[0].flat_dark.role is Role.BIAS
    found, _ = chosen([*some(Role.DARK), *flats, *far])
    assert found.flat_dark.frames[0].path.name.startswith("far")
    assert found.notes == ("dark-flat of 9 s for flats of 2 s",)


@pytest.mark.parametrize("calibrated", ["B", "D", "BD"])
def test_the_offset_of_flats_is_not_subtracted_twice(calibrated):
    flats = some(Role.FLAT, calibrated=calibrated)
    found, _ = chosen([*some(Role.DARK), *some(Role.BIAS), *some(Role.DARK_FLAT), *flats])
    assert found.flat is not None
    assert found.flat_dark is None
    assert len(group_frames([*flats, *some(Role.FLAT, name="raw")])) == 2


def test_a_master_flat_is_taken_as_such():
    found, _ = chosen([*some(Role.DARK), *some(Role.BIAS), frame(Role.FLAT, is_master=True)])
    assert found.flat is not None
    assert found.flat_dark is None


def test_a_master_is_combined_with_nothing():
    frames = [*some(Role.DARK), *(frame(Role.DARK, number, name="m", is_master=True) for number in (7, 8))]
    assert sorted(len(one.frames) for one in group_frames(frames)) == [1, 1, 5]


def test_what_was_done_before_is_not_done_twice():
    frames = [*some(Role.DARK), *some(Role.BIAS), *some(Role.FLAT)]
    for calibrated, kinds in (("BDF", (False, False)), ("D", (False, True)), ("F", (True, False)), ("", (True, True))):
        light = replace(LIGHT, setup=replace(CAMERA, calibrated=calibrated))
        found, _ = chosen(frames, light)
        assert (found.dark is not None, found.flat is not None) == kinds


def test_a_telescope_that_subtracts_its_dark_gets_flats_only_unless_a_person_gives_darks():
    light = replace(LIGHT, setup=replace(CAMERA, subtracts_dark=True))
    flats = some(Role.FLAT, subtracts_dark=True)
    found, why = chosen([*some(Role.DARK), *some(Role.BIAS), *flats], light)
    assert (found.dark, found.bias) == (None, None)
    assert found.flat is not None
    assert set(why) == {"the telescope subtracts a dark of its own"}
    assert chosen(some(Role.DARK, is_given=True), light)[0].dark is not None


def test_frames_that_name_no_camera_are_taken_where_their_gain_agrees_or_a_person_gives_them():
    unknown = {"camera": "", "gain": math.nan}
    found, why = chosen(some(Role.DARK, **unknown))
    assert found.dark is None
    assert why == [
        "the header names neither camera nor gain; if it fits, name its folder with --darks, --flats or --biases"
    ]
    assert chosen(some(Role.DARK, camera=""))[0].dark is not None
    assert chosen(some(Role.DARK, is_given=True, **unknown))[0].dark is not None
    assert chosen(some(Role.DARK, **unknown), replace(LIGHT, setup=UNKNOWN_SETUP))[0].dark is not None


# --- sets


def test_one_frame_of_another_temperature_makes_a_set_of_its_own():
    frames = [*some(Role.DARK, 6), frame(Role.DARK, 9, temperature_c=2.0)]
    assert [len(one.frames) for one in group_frames(frames)] == [6, 1]
    found, why = chosen(frames)
    assert len(found.dark.frames) == 6
    assert why == ["temperature 2.0 °C against -10.0 °C"]


def test_darks_of_two_settings_of_the_cooler_are_two_sets_and_those_of_a_drift_are_one():
    def temperatures(*values):
        frames = [frame(Role.DARK, number, temperature_c=value) for number, value in enumerate(values)]
        return [len(one.frames) for one in group_frames(frames)]

    assert temperatures(*[-10.0] * 6, *[-8.0] * 5, *[-6.5] * 7) == [6, 5, 7]
    assert temperatures(*[-10.0] * 9, -8.5, -8.4) == [11]
    assert temperatures(*(-10.0 + 0.25 * number for number in range(12))) == [12]
    assert temperatures(20.0, 21.5, 21.9, 23.0) == [4]
    assert temperatures(*[-10.0] * 5, *[math.nan] * 5) == [5, 5]


def test_binned_frames_are_one_set_whatever_their_pixels_tell_of_colours():
    frames = [frame(Role.DARK, n, binning=(2, 2), bayer="GRBG" if n % 2 else None) for n in range(6)]
    assert [len(one.frames) for one in group_frames(frames)] == [6]
    assert len(group_frames([*some(Role.DARK, bayer="GRBG"), *some(Role.DARK, bayer=None)])) == 2
    light = replace(LIGHT, bayer="GRBG", setup=replace(CAMERA, binning=(2, 2)))
    assert chosen(frames, light)[0].dark is not None


def test_flats_of_two_evenings_are_two_sets_and_darks_are_one():
    for role, count in ((Role.FLAT, 2), (Role.DARK, 1)):
        evenings = [*some(role), *some(role, moment_s=TONIGHT_S + 1.0 * DAY_S)]
        assert len(group_frames(evenings)) == count


def test_sky_flats_of_many_exposures_are_one_set():
    flats = [frame(Role.FLAT, number, exposure_s=1.0 + number) for number in range(5)]
    (one,) = group_frames(flats)
    assert one.exposures_s == (1.0, 5.0)
    assert str(one.name) == "5 flats of 3 s (LP, gain 80, -10 °C, flat)"


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[1:180,1:256]", Box(0, 256, 0, 180)),
        ("[180:1, 256:1]", Box(0, 256, 0, 180)),  # the sensor was read from the other side
        ("[181:192,1:256]", Box(0, 256, 180, 192)),
        ("[181:193,1:256]", None),
        ("[0:180,1:256]", None),
        ("all of it", None),
    ],
)
def test_a_section_of_a_sensor_counts_if_it_lies_in_the_image(text, box):
    setup = CameraSetup.of(HeaderCards({"TRIMSEC": text, "BIASSEC": text}), (256, 192))
    assert (setup.exposed, setup.overscan) == (box, box)
