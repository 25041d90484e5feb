"""The subs of a run: those that a plan lists, or those of a folder; each exposure once, and what is odd in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..fits.headers import HeaderCards
from ..names import shown_name
from ..sentences import say
from . import stack_plan
from .doubles import find_doubles
from .folder import FoundSubs, beside_plan, list_folder, read_subs, scan_folder
from .frames import SubInfo, UnsolvedSub
from .image_files import kind_of
from .roles import CALIBRATION, FolderFile, Role, role_of_file, role_of_name
from .vast import split_by_size

OnFile = Callable[[int, int], None]
_NAMED = 3  # files in a sentence about many


@dataclass(frozen=True)
class Search:
    """Options of a search for subs.

    Attributes
    ----------
    recursive : bool
        Whether the folders below are looked into; not for finished tiles, and a plan is taken as it is.
    saturation_adu : float
        As in `frames.read_sub`.
    filter : str or None
        Of a plan that names filters only the rows of this one are read, by `stack_plan.select_filter`; None reads all.
    as_tiles : bool
        The folder holds finished tiles: every image counts, and no plan.
    use_plan : bool
        False looks into the folder although there is a plan.
    refused : callable
        ``refused(path)`` says why a file is not to be touched; empty where it may be.
    left_out : collection of str
        Subs that a person does not want, named as `name_in_folder` names them.
    ignored : callable
        ``ignored(path)`` is True for a file that is passed over as if it were not there; a plan is taken as it is.
    """

    recursive: bool = True
    saturation_adu: float = 0.0
    filter: str | None = None
    as_tiles: bool = False
    use_plan: bool = True
    refused: Callable[[Path], str] = lambda path: ""
    left_out: Collection[str] = ()
    ignored: Callable[[Path], bool] = lambda path: False


def find_subs(
    folder: Path, search: Search, on_file: OnFile | None = None, check: Callable[[], None] = lambda: None
) -> FoundSubs:
    """Find the subs of a folder by its ``stack_plan.csv``, or by looking.

    Parameters
    ----------
    folder : Path
    search : Search
    on_file : callable, optional
        Called with the number of files looked at and their total; it may raise to stop.
    check : callable, optional
        Called before each file that is read to its end; it may raise to stop.

    Returns
    -------
    FoundSubs
        Its `notes` say what a person should know of the folder.

    Raises
    ------
    SettingsError
        If the folder or its plan cannot be read, or no row has the wanted filter.
    """
    found_plan = stack_plan.find_stack_plan(folder) if search.use_plan and not search.as_tiles else None
    if found_plan is None:
        found = scan_folder(
            folder,
            recursive=search.recursive and not search.as_tiles,
            as_tiles=search.as_tiles,
            saturation_adu=search.saturation_adu,
            on_file=on_file,
            refused=search.refused,
            ignored=search.ignored,
        )
        notes = [_skipped_note(path) for path in found.skipped]
    else:
        found, notes = _planned(folder, found_plan, search, on_file)
    if search.left_out:
        found, left = without_left_out(folder, found, search.left_out)
        notes += [say("Left out by hand: {n} ({names}).", n=len(left), names=_some(left))] if left else []
    if not search.as_tiles:
        found = _each_once(_without_vast(found), check)
    notes += [*_double_notes(found), *_odd_headers(found)]
    return replace(found, notes=notes)


def name_in_folder(folder: Path, path: Path) -> str:
    """The name of a file as seen from the folder, with bytes that are no text escaped."""
    return shown_name(path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path)


def without_left_out(folder: Path, found: FoundSubs, left_out: Collection[str]) -> tuple[FoundSubs, list[str]]:
    """The same without subs of these names, those that cannot be used included; and the names that were there."""
    unwanted = frozenset(left_out)
    left: list[str] = []

    def is_wanted(path: Path | str) -> bool:
        name = name_in_folder(folder, Path(path))
        if name in unwanted:
            left.append(name)
        return name not in unwanted

    kept = replace(
        found,
        infos=[sub for sub in found.infos if is_wanted(sub.path)],
        unsolved=[sub for sub in found.unsolved if is_wanted(sub.path)],
        rejected=[error for error in found.rejected if is_wanted(error.path)],
    )
    return kept, sorted(left)


def _without_vast(found: FoundSubs) -> FoundSubs:
    """The same with subs that unfold to far more pixels than the others among those that cannot be used."""
    kept, vast = split_by_size(found.subs)
    return replace(
        found,
        infos=[sub for sub in kept if isinstance(sub, SubInfo)],
        unsolved=[sub for sub in kept if isinstance(sub, UnsolvedSub)],
        rejected=[*found.rejected, *vast],
    )


def _skipped_note(folder: Path) -> str:
    return say("The folder {folder} was not looked into: it is an output of this program.", folder=shown_name(folder))


def _planned(folder: Path, found_plan: Path, search: Search, on_file: OnFile | None) -> tuple[FoundSubs, list[str]]:
    """The subs that a plan lists, and what is odd about it."""
    listed = stack_plan.read_stack_plan(found_plan)
    rows = listed.rows
    if search.filter is not None and any(row.filter.strip() for row in rows):
        rows = stack_plan.select_filter(rows, search.filter)
    found = read_subs(rows, saturation_adu=search.saturation_adu, on_file=on_file, refused=search.refused)
    notes = list(listed.notes)
    beside = beside_plan(folder, listed.rows, recursive=search.recursive)
    unlisted = [file.path for file in beside if file.role is Role.LIGHT]
    if unlisted:
        names = _some([shown_name(path.relative_to(folder).as_posix()) for path in unlisted])
        notes.append(
            say(
                "Lights of the folder that {plan} does not list and that are not used: {n} ({names}); "
                "make the plan anew with zemosaic plan, or remove it.",
                plan=found_plan.name,
                n=len(unlisted),
                names=names,
            )
        )
    notes += _listed_stacks(found)
    frames = [file for file in beside if file.role in CALIBRATION]
    return replace(found, rejected=[*listed.missing, *found.rejected], others=frames), notes


def _each_once(found: FoundSubs, check: Callable[[], None]) -> FoundSubs:
    """The same without subs whose pixels are those of another one."""
    doubles = find_doubles(found.subs, check)
    if not doubles:
        return found
    gone = {id(double.sub) for double in doubles}
    files = [
        FolderFile(double.sub.path, Role.DOUBLE, f"it holds the same exposure as {shown_name(double.kept.path.name)}")
        for double in doubles
    ]
    return replace(
        found,
        infos=[sub for sub in found.infos if id(sub) not in gone],
        unsolved=[sub for sub in found.unsolved if id(sub) not in gone],
        others=sorted([*found.others, *files], key=lambda file: str(file.path)),
    )


def _double_notes(found: FoundSubs) -> list[str]:
    doubles = found.of_role(Role.DOUBLE)
    if not doubles:
        return []
    names = _some([shown_name(file.path.name) for file in doubles])
    return [say("Doubles of exposures that are there already, left out: {n} ({names}).", n=len(doubles), names=names)]


def _listed_stacks(found: FoundSubs) -> list[str]:
    """Stacks that a plan lists as subs."""
    named = [(sub.path.name, role_of_name(sub.path.stem)) for sub in found.subs]
    names = [shown_name(name) for name, told in named if told is not None and told[0] is Role.STACK]
    if not names:
        return []
    return [
        say(
            "Files of the plan that are called like stacks and are used as subs: {n} ({names}).",
            n=len(names),
            names=_some(names),
        )
    ]


def _odd_headers(found: FoundSubs) -> list[str]:
    """Return notes about header cards that are ignored, one for all subs that have them."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for sub in found.subs:
        for note in sub.notes:
            by_note[note].append(shown_name(sub.path.name))
    return [say("{why}: {n} ({names}).", why=note, n=len(names), names=_some(names)) for note, names in by_note.items()]


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


# --- in words


def nothing_found(folder: Path, found: FoundSubs, *, recursive: bool) -> str:
    """Return a sentence about a folder without any sub that can be used or solved."""
    if found.others:
        return say(
            "The folder {folder} holds no light to stack, only {found}; finished stacks are joined "
            "with zemosaic grid --tiles.",
            folder=shown_name(folder),
            found=count_text(found),
        )
    below = "" if recursive else _deeper(folder)
    hint = say("; its folder {name} does", name=below) if below else say("; is it the right one?")
    return say(
        "The folder {folder} holds no file named .fit, .fits, .fts (also with .gz behind), .fz, "
        ".tif, .xisf or like the raw files of cameras{why}",
        folder=shown_name(folder),
        why=hint,
    )


def _deeper(folder: Path) -> str:
    """A folder below that holds images; empty if there is none."""
    files = list_folder(folder).files
    lights = [path for path in files if role_of_file(path, folder, HeaderCards({})).role is Role.LIGHT]
    inside = [path.relative_to(folder).parts[0] for path in lights if path.parent != folder and kind_of(path).is_image]
    return shown_name(inside[0]) if inside else ""


_PLURALS = {
    Role.FLAT: ("flat", "flats"), Role.DARK: ("dark", "darks"), Role.BIAS: ("bias frame", "bias frames"),
    Role.DARK_FLAT: ("dark-flat", "dark-flats"), Role.STACK: ("stack", "stacks"),
    Role.PROCESSED: ("sub written anew by another program", "subs written anew by another program"),
    Role.FAILED: ("sub that the telescope refused", "subs that the telescope refused"),
    Role.SNAPSHOT: ("snapshot", "snapshots"), Role.PICTURE: ("picture", "pictures"),
    Role.DOUBLE: ("double", "doubles"),
}  # fmt: skip


def count_text(found: FoundSubs) -> str:
    """Return the files beside the lights: ``20 darks, 1 stack, 3 pictures``; empty if there are none."""
    return ", ".join(f"{count} {_PLURALS[role][count != 1]}" for role, count in found.count_by_role().items())


def found_text(folder: Path, found: FoundSubs) -> str:
    """Return what was found, in one sentence for the log."""
    lights = len(found.infos) + len(found.unsolved)
    unsolved = f", {len(found.unsolved)} of them not plate-solved" if found.unsolved else ""
    beside = f"; beside them {count_text(found)}" if found.others else ""
    return f"{lights} {'sub' if lights == 1 else 'subs'} in {shown_name(folder)}{unsolved}{beside}"
