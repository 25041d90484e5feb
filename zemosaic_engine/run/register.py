"""Before the canvas is planned: stars of all subs are found and matched, and say where each sub lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..astrometry.registration import Registration, rms
from ..astrometry.results import AstrometricSolution, CatalogueStars
from ..astrometry.star_places import StarPlaces, places_of_sub
from ..astrometry.sub_frames import sky_angles
from ..catalogues.reference import chosen_catalogue
from ..errors import SubError, SubsLost
from ..events import CancelToken, Reporter
from ..executors.executor import Executor, Here, Seat
from ..executors.subs_ahead import subs_ahead
from ..fits.headers import image_center_deg, pixel_scale_arcsec, unit_vectors
from ..machine.threads import run_all, run_interruptibly, thread_count
from ..resume.checkpoints import Checkpoints
from ..resume.fingerprints import fingerprint
from ..resume.sub_digests import DigestNote
from ..sentences import say
from ..solving.star_zones import shipped_catalogue
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from ..subs.lost_inputs import raise_if_lost
from .prepare import plan_request
from .request import GridRequest, PlannedRequest

#: A run whose headers are all this near to the solution keeps them: nothing is gained, and nothing changes.
LEAST_MOVE_PX = 0.1
#: Most of it is motion since the epoch of the catalogue.
TYCHO2_ERROR_ARCSEC = 0.3
_LEAST_MOVE_SIGMA = 4.0
#: A catalogue that puts all subs this far beside their headers disagrees by more than conventions of solvers do.
_LARGE_COMMON_MOVE_PX = 2.0
_NAMED = 5  # subs that a line names before it says how many more there are


@dataclass(frozen=True)
class _Found:
    """Star places of the subs, and the keys of their records."""

    stars: list[StarPlaces]
    keys: list[str]


def known_stars(request: GridRequest) -> CatalogueStars | None:
    """Stars of known place over all subs: of the user's reference catalogue, else of the one in the package."""
    infos = request.infos
    given = chosen_catalogue(request.settings, infos[0].channels)
    if given is not None:
        magnitude = next(iter(given.magnitude.values()))
        order = np.argsort(np.where(np.isfinite(magnitude), magnitude, np.inf), kind="stable")
        return CatalogueStars(given.ra_deg[order], given.dec_deg[order])
    places = unit_vectors(*np.array([info.center_deg for info in infos]).T)
    middle = places.mean(axis=0, keepdims=True)
    ra, dec = sky_angles(middle)
    reach = np.degrees(np.arccos(np.clip(places @ middle[0] / np.linalg.norm(middle), -1.0, 1.0))).max()
    radius = max(0.5 * float(np.hypot(*info.shape)) * info.pixel_scale_arcsec / 3600.0 for info in infos)
    found = shipped_catalogue().near((float(ra[0]), float(dec[0])), float(reach) + 1.2 * radius)
    return CatalogueStars(found.ra_deg, found.dec_deg, np.full(len(found), TYCHO2_ERROR_ARCSEC))


def register(
    request: PlannedRequest,
    reporter: Reporter,
    cancel: CancelToken,
    checkpoints: Checkpoints,
    executor: Executor | None = None,
) -> PlannedRequest:
    """The request with its subs where their own stars put them.

    Parameters
    ----------
    request : PlannedRequest
        Its canvas was planned by the headers.
    reporter, cancel
        Receives log lines and progress; checked between steps.
    checkpoints : Checkpoints
        Where star places and the solution are kept and found.
    executor : Executor, optional
        The workers that find stars.

    Returns
    -------
    PlannedRequest
        With a canvas planned anew where subs were moved.

    Raises
    ------
    SubsLost
        If subs cannot be read, or are to be set aside because no star agrees with them.
    RunError
        If the folder of subs is gone.
    """
    settings, infos = request.settings, request.infos
    if settings.astrometry == "header" or request.tiles_only or len(infos) < 2:
        return request
    found = _find_stars(request, reporter, cancel, checkpoints, executor or Here())
    solution = run_interruptibly(lambda: _solved(request, found, known_stars(request), reporter, checkpoints), cancel)
    if not solution.tied.any():
        reporter.log(say("Registration: no two subs share enough stars, all keep their headers"), "WARN")
        return request
    _judge_untied(request, solution, reporter)
    refined = _is_better(solution)
    moved = [_placed(info, solution, number) if refined else info for number, info in enumerate(infos)]
    registration = Registration(moved, solution)
    _report(registration, reporter, refined)
    if solution.catalogue_stars:
        _report_common_move(infos, registration, reporter)
    registered = replace(request, infos=moved, registration=registration)
    return plan_request(registered, reporter.sink, cancel, source=reporter.source) if refined else registered


# --- stars


def _find_stars(
    request: GridRequest, reporter: Reporter, cancel: CancelToken, checkpoints: Checkpoints, executor: Executor
) -> _Found:
    """Star places of all subs, from records or from their pixels."""
    infos = request.infos
    reporter.expect(len(infos))
    ahead = _find_ahead(infos, reporter, checkpoints, executor)

    def look(number: int) -> tuple[StarPlaces | SubError, str, bool]:
        try:
            found = star_places_of(infos[number], checkpoints)
            return found.stars, found.key, found.was_kept
        except SubError as error:
            raise_if_lost(error, [each.path for each in infos])
            return error, "", False
        finally:
            if number not in ahead:
                reporter.step()

    looked = run_all(look, range(len(infos)), thread_count(request.settings.threads), cancel)
    _lose([found for found, _, _ in looked if isinstance(found, SubError)], reporter)
    if ahead:
        reporter.log(say("Workers found the stars of {n} of {total} subs", n=len(ahead), total=len(infos)))
    reused = sum(again for number, (_, _, again) in enumerate(looked) if number not in ahead)
    if reused:
        reporter.log(say("Stars of {n} of {total} subs were found by an earlier run", n=reused, total=len(infos)))
    return _Found([found for found, _, _ in looked if isinstance(found, StarPlaces)], [key for _, key, _ in looked])


@dataclass(frozen=True)
class KeptPlaces:
    """Star places of a sub, the key of their record, and whether they were found there."""

    stars: StarPlaces
    key: str
    was_kept: bool


def star_places_of(info: SubInfo, checkpoints: Checkpoints) -> KeptPlaces:
    """Star places of a sub, from their record or from its pixels.

    Raises
    ------
    SubError
        If it cannot be read or is black.
    """
    key = _key(checkpoints, info)
    kept = checkpoints.get("star_places", key, StarPlaces) if key else None
    if kept is not None:
        return KeptPlaces(kept, key, True)
    places = read_guarded(info.path, lambda: places_of_sub(info))
    if key:
        checkpoints.put("star_places", key, places)
    return KeptPlaces(places, key, False)


@dataclass(frozen=True)
class _StarsOrder:
    """An order to find the stars of one sub."""

    info: SubInfo
    note: DigestNote | None
    state: Path


def _find_ahead(infos: Sequence[SubInfo], reporter: Reporter, checkpoints: Checkpoints, executor: Executor) -> set[int]:
    """Let workers find stars; the subs for which they did."""
    if checkpoints.folder is None:
        return set()
    state = checkpoints.folder.absolute()
    orders = [_StarsOrder(info, checkpoints.subs.note_of(info), state) for info in infos]
    return subs_ahead(find_stars, orders, executor, checkpoints, reporter)


def find_stars(order: _StarsOrder, seat: Seat) -> DigestNote | None:
    """Find the stars of a sub in a worker; what was noted of its content."""
    checkpoints, info = Checkpoints.of_worker(order.state, [order.note]), order.info
    key = _key(checkpoints, info)
    if checkpoints.get("star_places", key, StarPlaces) is None:
        checkpoints.put("star_places", key, read_guarded(info.path, lambda: places_of_sub(info)))
    return checkpoints.subs.note_of(info)


def _lose(errors: list[SubError], reporter: Reporter) -> None:
    """Set subs aside, if there are any: the run is planned again without them."""
    for error in errors:
        reporter.set_aside(error)
    if errors:
        raise SubsLost(errors)


def _key(checkpoints: Checkpoints, info: SubInfo) -> str:
    """Of the star places of a sub; empty where nothing is kept."""
    if not checkpoints.keeps:
        return ""
    content = read_guarded(info.path, lambda: checkpoints.subs.digest(info))
    return checkpoints.key("star places", content, info.hdu, info.bayer or "", info.saturation_adu)


def _solved(
    request: GridRequest,
    found: _Found,
    catalogue: CatalogueStars | None,
    reporter: Reporter,
    checkpoints: Checkpoints,
) -> AstrometricSolution:
    """The solution, from its record or made now."""
    from ..astrometry.solution import solve_astrometry

    infos = request.infos
    cameras = [sensor_key(info) for info in infos]

    def solve() -> AstrometricSolution:
        return solve_astrometry([i.wcs for i in infos], [i.shape for i in infos], cameras, found.stars, catalogue)

    if not checkpoints.keeps:
        return solve()
    headers = [fingerprint(info.wcs, info.shape) for info in infos]
    key = checkpoints.key("astrometry", found.keys, headers, cameras, catalogue)
    kept = checkpoints.get("astrometry", key, AstrometricSolution)
    if kept is not None:
        reporter.log(say("The registration was solved by an earlier run"))
        return kept
    made = solve()
    checkpoints.put("astrometry", key, made)
    return made


# --- what becomes of the subs


def _is_better(solution: AstrometricSolution) -> bool:
    """True if the headers of some subs are further off than the solution may be."""
    limit = np.maximum(LEAST_MOVE_PX, _LEAST_MOVE_SIGMA * solution.error_px[solution.tied])
    return bool((solution.moved_px[solution.tied] > limit).any())


def _placed(info: SubInfo, solution: AstrometricSolution, number: int) -> SubInfo:
    if not solution.tied[number]:
        return info
    wcs = solution.wcs.wcs(number, info.shape)
    scale, center = pixel_scale_arcsec(wcs, info.shape), image_center_deg(wcs, info.shape)
    return replace(info, wcs=wcs, pixel_scale_arcsec=scale, center_deg=center)


def _judge_untied(request: GridRequest, solution: AstrometricSolution, reporter: Reporter) -> None:
    """Set subs aside that are not tied, as the settings want it, and tell of those that keep their headers."""
    infos, policy = request.infos, request.settings.untied_subs
    errors: list[SubError] = []
    by_header = []
    for number in np.flatnonzero(~solution.tied).tolist():
        path, stars = infos[number].path, int(solution.stars[number])
        if policy == "keep" or (policy == "judge" and solution.alone[number]):
            by_header.append(path.name)
        elif solution.alone[number]:
            errors.append(SubError(path, say("its {stars} stars are too few to tell where it lies", stars=stars)))
        else:
            reason = say(
                "none of its {stars} stars agree with those of the subs around it: its plate solution is wrong, or "
                "they are no stars; solve it again, or set untied_subs = keep",
                stars=stars,
            )
            errors.append(SubError(path, reason))
    _lose(errors, reporter)
    if by_header:
        names = ", ".join([*by_header[:_NAMED], *(["..."] if len(by_header) > _NAMED else [])])
        kept = say(
            "Registration: {n} subs cannot be tied and keep their headers: {names}", n=len(by_header), names=names
        )
        reporter.log(kept, "WARN")


# --- what is told


def _report(registration: Registration, reporter: Reporter, refined: bool) -> None:
    """What the solution says, in log lines."""
    solution, infos = registration.solution, registration.subs
    tied = solution.tied
    reporter.log(
        say(
            "Registration: {n} of {total} subs tied to each other by {stars} stars each (median), their places are "
            "known to {error:.3f} px",
            n=int(tied.sum()),
            total=len(infos),
            stars=int(np.median(solution.matched[tied])),
            error=rms(solution.error_px),
        )
    )
    if solution.catalogue_stars:
        reporter.log(
            say("Registration: {stars} stars of the catalogue hold the mosaic in place", stars=solution.catalogue_stars)
        )
    sizes = np.bincount(solution.group[tied]).tolist()
    if len(sizes) > 1:
        reporter.log(
            say(
                "Registration: the subs form {groups} groups without common stars ({sizes} subs), each held in place "
                "by its own headers",
                groups=len(sizes),
                sizes=", ".join(map(str, sizes)),
            ),
            "WARN",
        )
    worst = int(np.nanargmax(solution.after_px))
    figures = say(
        "{before:.2f} px before, {after:.2f} px after, worst sub {name} {worst:.2f} px",
        before=rms(solution.before_px),
        after=rms(solution.after_px),
        name=infos[worst].path.name,
        worst=float(solution.after_px[worst]),
    )
    reporter.metric("Registration", figures)
    if not refined:
        most = float(np.nanmax(solution.moved_px))
        reporter.log(say("Registration: no header is off by more than {px:.2f} px, all are kept", px=most))


def _report_common_move(infos: Sequence[SubInfo], registration: Registration, reporter: Reporter) -> None:
    """Warn if the catalogue moves all subs alike: by the headers alone nobody would notice."""
    tied = np.flatnonzero(registration.solution.tied).tolist()
    before, after = (np.array([subs[n].center_deg for n in tied]) for subs in (infos, registration.subs))
    away = after - before
    away[:, 0] = (away[:, 0] + 180.0) % 360.0 - 180.0
    east, north = 3600.0 * np.median(away * np.stack([np.cos(np.radians(before[:, 1])), np.ones(len(tied))], 1), axis=0)
    scale = float(np.median([infos[n].pixel_scale_arcsec for n in tied]))
    if np.hypot(east, north) < _LARGE_COMMON_MOVE_PX * scale:
        return
    reporter.log(
        say(
            "Registration: by the stars of the catalogue the subs lie {px:.1f} px ({east:+.1f} arcsec east, "
            "{north:+.1f} arcsec north) beside where their headers say; the mosaic follows the catalogue: check which "
            "of them is right",
            px=float(np.hypot(east, north)) / scale,
            east=float(east),
            north=float(north),
        ),
        "WARN",
    )
