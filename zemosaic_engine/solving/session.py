"""The plate solving of a run: every sub that needs it, each once, the later ones led by the earlier."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import SubError
from ..events import CancelToken, PhaseStarted, Progress, Reporter
from ..fits.headers import CardValue, HeaderCards
from ..machine.threads import run_all, run_interruptibly, thread_count
from ..names import shown_name
from ..resume.fingerprints import engine_fingerprint, file_digest, fingerprint
from ..sentences import say
from ..settings import GridSettings
from ..subs.faults import read_guarded
from ..subs.folder import FoundSubs
from ..subs.frames import SubInfo, UnsolvedSub
from ..subs.image_files import find_image
from ..subs.stack_plan import time_order
from .cards import cards_beside, plate_cards, wcs_of
from .catalogues import Catalogue, open_catalogues
from .detection import stars_of_sub
from .hints import Learnt, offset_of, pointings, searches
from .journal import KeptSolution, SolutionJournal
from .sky_indexes import SkyIndexes
from .solver import LEAST_STARS, Search, Solution, StarField, polished, solve
from .star_zones import shipped_catalogue

PHASE = "plate solving"
_WEIGHT = 0.05
_FIRST_ONES = 12  # subs of a camera that may search the whole sky before one of them is solved


@dataclass(frozen=True)
class SolvedSub:
    """The outcome of solving a sub.

    Attributes
    ----------
    sub : UnsolvedSub
    info : SubInfo or None
        With its plate solution; None if none was found.
    origin : str
        ``"kept"`` from an earlier run, ``"beside"`` the sub, ``"header"``, ``"camera"`` or ``"blind"``; empty if none
        was found.
    stars : int
        Stars of the catalogue that it rests on; of the picture where no solution was found.
    rms_px : float
        NaN if it was not solved here.
    error : SubError or None
        Why none was found.
    cards : mapping
        Header cards of the solution.
    """

    sub: UnsolvedSub
    info: SubInfo | None
    origin: str = ""
    stars: int = 0
    rms_px: float = math.nan
    error: SubError | None = None
    cards: Mapping[str, CardValue] = field(default_factory=dict)


class PlateSolver:
    """Solves subs with the catalogues that there are.

    Parameters
    ----------
    settings : GridSettings
        `star_catalogue_dir`.
    journal : SolutionJournal
        Solutions of earlier runs, and of this one.

    Raises
    ------
    SettingsError
        If a catalogue cannot be read.
    """

    def __init__(self, settings: GridSettings, journal: SolutionJournal) -> None:
        self._sky = shipped_catalogue()
        self._deep: Sequence[Catalogue] = open_catalogues(settings.star_catalogue_dir)
        self._indexes = SkyIndexes(self._sky)
        self._journal = journal
        looks = [(str(path), os.stat(path)) for catalogue in self._deep for path in catalogue.files]
        facts = [(path, look.st_size, look.st_mtime_ns) for path, look in looks]
        self._way = fingerprint(engine_fingerprint(), facts)

    def describe(self) -> str:
        """Names of the catalogues, for a log."""
        return ", ".join([self._sky.name, *(catalogue.name for catalogue in self._deep)])

    def solve(
        self, sub: UnsolvedSub, learnt: Sequence[Learnt], *, blind: bool, anew: bool, check: Callable[[], None]
    ) -> SolvedSub:
        """Solve one sub, or find its solution beside it (unless `anew`) or among those of earlier runs."""
        found = None if anew else cards_beside(sub)
        if found is not None:
            beside = _with_types(found[1])
            return SolvedSub(sub, sub.solved(wcs_of(beside, sub.shape)), "beside", cards=beside)
        tried = searches(sub.header, learnt, blind=blind)
        way = fingerprint(self._way, tried, sub.shape, sub.bayer)
        try:
            digest = file_digest(sub.path, sub.span or None)
            kept = self._journal.find(digest, way)
            if kept is not None:
                info = sub.solved(wcs_of(kept.cards, sub.shape))
                return SolvedSub(sub, info, "kept", kept.stars, kept.rms_px, cards=kept.cards)
            stars = stars_of_sub(sub)
        except OSError as error:
            why = SubError(sub.path, say("it cannot be read: {why}", why=error.strerror or error))
            return SolvedSub(sub, None, error=why)
        except SubError as error:
            return SolvedSub(sub, None, error=error)
        solution = self._solution(stars, tried, _year(sub), check)
        if solution is None:
            return SolvedSub(sub, None, stars=len(stars), error=_unsolvable(sub, stars))
        cards = plate_cards(solution.plate, sub.shape)
        self._journal.keep(
            KeptSolution(digest, way, cards, solution.stars, solution.rms_px, solution.log_odds, solution.origin)
        )
        info = sub.solved(wcs_of(cards, sub.shape))
        return SolvedSub(sub, info, solution.origin, solution.stars, solution.rms_px, cards=cards)

    def _solution(
        self, field: StarField, tried: Sequence[Search], year: float, check: Callable[[], None]
    ) -> Solution | None:
        """Near the hints, by the shipped catalogue and then by deeper ones; then elsewhere."""
        near = [search for search in tried if search.center_deg is not None]
        far = [search for search in tried if search.center_deg is None]
        deeper = [catalogue.at(year) for catalogue in self._deep]
        found = solve(field, near, self._sky, self._indexes, check)
        for catalogue in deeper:
            found = found or solve(field, near, catalogue, self._indexes.of(catalogue), check)
        found = found or solve(field, far, self._sky, self._indexes, check)
        if found is not None and deeper:
            # The deeper one knows more stars, with newer places: the plate is fitted to them.
            return polished(field, found, deeper[0]) or found
        return found


def _year(sub: UnsolvedSub) -> float:
    """Return the year of a sub; 2025 if its header has none."""
    try:
        return float(sub.date_obs[:4])
    except ValueError:
        return 2025.0


def _with_types(cards: dict[str, CardValue]) -> dict[str, CardValue]:
    return cards if "CTYPE1" in cards else {**cards, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}


def _unsolvable(sub: UnsolvedSub, field: StarField) -> SubError:
    if len(field) < LEAST_STARS:
        return SubError(sub.path, say("it has no plate solution, and {n} stars are too few to find one", n=len(field)))
    return SubError(
        sub.path,
        say(
            "it has no plate solution, and none was found by its {n} stars; write RA, DEC, FOCALLEN and "
            "XPIXSZ into its header, or solve it with another program",
            n=len(field),
        ),
    )


def solve_subs(
    subs: Sequence[UnsolvedSub],
    solver: PlateSolver,
    reporter: Reporter,
    cancel: CancelToken,
    *,
    known: Sequence[SubInfo] = (),
    anew: bool = False,
    threads: int = 0,
) -> list[SolvedSub]:
    """Solve subs, with progress; nothing depends on the number of threads.

    Of each camera the first sub that is solved, in the order given, leads all others: its scale, its parity and by
    how much its header missed. Only then are the others solved, at once.

    Parameters
    ----------
    subs : sequence of UnsolvedSub
    solver : PlateSolver
    reporter : Reporter
    cancel : CancelToken
    known : sequence of SubInfo
        Subs that are solved already; those of the same camera lead too.
    anew : bool
        Whatever other programs left beside them.
    threads : int
        0 takes all cores.

    Returns
    -------
    list of SolvedSub
        In the order of `subs`.
    """
    reporter.sink(PhaseStarted(PHASE, 0, _WEIGHT))
    results: dict[int, SolvedSub] = {}
    lock = threading.Lock()

    def one(number: int, learnt: Sequence[Learnt], *, blind: bool) -> None:
        solved = solver.solve(subs[number], learnt, blind=blind, anew=anew, check=cancel.check)
        with lock:
            results[number] = solved
            reporter.sink(Progress(PHASE, len(results), len(subs)))

    for numbers in _cameras(subs).values():
        leader = next((info for info in known if _camera_of(info) == _camera_of(subs[numbers[0]])), None)
        learnt = [] if leader is None else [_learnt(leader, None)]
        if not learnt:
            first_ones = [numbers[k * len(numbers) // _FIRST_ONES] for k in range(_FIRST_ONES)]
            for number in dict.fromkeys(first_ones):
                cancel.check()
                run_interruptibly(lambda number=number: one(number, (), blind=True), cancel)  # type: ignore[misc]
                info = results[number].info
                if info is not None:
                    learnt = [_learnt(info, subs[number].header)]
                    break
        rest = [number for number in numbers if number not in results]
        blind = bool(learnt)
        run_all(lambda number: one(number, learnt, blind=blind), rest, thread_count(threads), cancel)  # noqa: B023
    return [results[number] for number in range(len(subs))]


def _camera_of(sub: UnsolvedSub | SubInfo) -> tuple[str, tuple[int, int]]:
    return sub.camera, sub.shape


def _cameras(subs: Sequence[UnsolvedSub]) -> dict[tuple, list[int]]:
    """Numbers of the subs of each camera and focal length, in their order."""
    groups: dict[tuple, list[int]] = {}
    for number, sub in enumerate(subs):
        groups.setdefault((_camera_of(sub), sub.header.text("FOCALLEN")), []).append(number)
    return groups


def _learnt(info: SubInfo, header: HeaderCards | None) -> Learnt:
    places = [] if header is None else pointings(header)
    offset = offset_of(places[0], info.center_deg) if places else None
    if offset is not None and math.hypot(*offset) > 10.0:  # no offset of a mount, but another object's name
        offset = None
    cd = info.wcs.pixel_scale_matrix
    return Learnt(info.pixel_scale_arcsec, bool(np.linalg.det(cd) < 0.0), offset, info.center_deg)


def outcome_text(solved: Sequence[SolvedSub]) -> str:
    """One line for the log: how many were solved, and by what."""
    good = [result for result in solved if result.info is not None]
    kinds = {
        "header": "by the hints of their headers",
        "camera": "led by another sub of the camera",
        "blind": "by the whole sky",
        "beside": "read from files beside them",
        "kept": "known from an earlier run",
    }
    ways = [f"{count} {text}" for kind, text in kinds.items() if (count := sum(r.origin == kind for r in good))]
    rests = [result.rms_px for result in good if math.isfinite(result.rms_px)]
    scatter = f"; residuals {np.median(rests):.2f} px" if rests else ""
    return f"{len(good)} of {len(solved)} subs are plate-solved" + (f": {', '.join(ways)}" if ways else "") + scatter


def listed(solved: Sequence[SolvedSub], folder: Path) -> list[str]:
    """A line a sub, in columns: its name, where its middle lies, its scale and rotation, and what that rests on."""
    names = [_name_in(result.sub.path, folder) for result in solved]
    width = max((len(name) for name in names), default=0)
    lines = []
    for name, result in zip(names, solved, strict=True):
        if result.info is None:
            lines.append(f"{name:<{width}}  not solved: {result.error.reason if result.error is not None else ''}")
            continue
        ra, dec = result.info.center_deg
        cd = result.info.wcs.pixel_scale_matrix
        turn = math.degrees(math.atan2(float(cd[0, 1]), float(cd[1, 1])))  # of the pixel's y from north through east
        mirror = " mirrored" if np.linalg.det(cd) > 0.0 else ""
        basis = f", {result.stars} stars to {result.rms_px:.2f} px" if result.stars else ""
        lines.append(
            f"{name:<{width}}  RA {ra:9.5f} Dec {dec:+9.5f}  {result.info.pixel_scale_arcsec:.4f} arcsec/px  "
            f"rotation {turn:+7.2f}{mirror} ({result.origin}{basis})"
        )
    return lines


def _name_in(path: Path, folder: Path) -> str:
    return shown_name(path.relative_to(folder) if path.is_relative_to(folder) else path)


def solve_found(
    found: FoundSubs, settings: GridSettings, journal: SolutionJournal, reporter: Reporter, cancel: CancelToken
) -> FoundSubs:
    """The subs of a folder with plate solutions, as `plate_solve` asks for; the rest is among the rejected.

    Parameters
    ----------
    found : FoundSubs
    settings : GridSettings
    journal : SolutionJournal
        Where solutions are kept; nothing is written where nothing is solved.
    reporter : Reporter
    cancel : CancelToken

    Raises
    ------
    SettingsError
        If a star catalogue cannot be read.
    RunError
        If a solution cannot be kept.
    """
    anew = settings.plate_solve == "all"
    if settings.plate_solve == "off" or not (found.unsolved or (anew and found.infos)):
        return found.without_unsolved()
    solver = PlateSolver(settings, journal)
    again = [as_unsolved(info) for info in found.infos] if anew else []
    subs = sorted([*found.unsolved, *again], key=time_order)
    known = () if anew else found.infos
    reporter.log(say("Subs to be plate-solved by {describe}: {n}", n=len(subs), describe=solver.describe()))
    solved = solve_subs(subs, solver, reporter, cancel, known=known, anew=anew, threads=settings.threads)
    reporter.log(say("Plate solving: {solved}", solved=outcome_text(solved)))
    infos = {info.path: info for info in found.infos}
    kept = [result.sub.path for result in solved if result.info is None and result.sub.path in infos]
    if kept:
        reporter.log(
            say("{n} subs keep the solution of their header: none was found by their stars", n=len(kept)), "WARN"
        )
    infos |= {result.info.path: result.info for result in solved if result.info is not None}
    lost = [r.error for r in solved if r.error is not None and r.sub.path not in infos]
    rejected = sorted([*found.rejected, *lost], key=lambda error: str(error.path))
    in_order = sorted(infos.values(), key=time_order) if found.unsolved else list(infos.values())
    return replace(found, infos=in_order, unsolved=(), rejected=rejected)


def as_unsolved(info: SubInfo) -> UnsolvedSub:
    """A solved sub as if it were not, with its header."""
    return UnsolvedSub(**info.facts(), header=read_guarded(info.path, lambda: find_image(info.path)).header)
