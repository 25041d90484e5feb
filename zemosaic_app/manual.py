"""The manual: the documentation that comes with the program, as pages for a browser."""

from __future__ import annotations

import hashlib
import html
import re
import shutil
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from zemosaic_engine import __version__
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.sentences import say

START = "windows"
_HERE = Path(__file__).parent
#: Where the documents are: in the package of an installed program, else in the folder of its source.
_PLACES = (_HERE / "docs", _HERE.parent / "docs")
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} - ZeMosaic {version}</title><style>{style}</style></head>
<body><nav>{contents}</nav><main>{text}</main></body></html>
"""
_STYLE = """
:root { color-scheme: light dark; --edge: #8884; --link: light-dark(#2f6fc4, #7ab0f5); }
body { margin: 0; display: flex; flex-wrap: wrap; font: 16px/1.55 system-ui, sans-serif; }
nav { flex: 0 0 13rem; padding: 1.5rem; border-right: 1px solid var(--edge); }
nav a { display: block; padding: .15rem 0; text-decoration: none; }
nav a[aria-current] { font-weight: bold; }
main { flex: 1 1 28rem; min-width: 0; max-width: 54rem; padding: 0 2rem 4rem; }
a { color: var(--link); } img { max-width: 100%; height: auto; } h1 { font-size: 1.7rem; } h2 { margin-top: 2.2rem; }
pre { overflow-x: auto; padding: .8rem; background: #8881; border-radius: 6px; } code { font-size: .92em; }
table { display: block; overflow-x: auto; border-collapse: collapse; }
td, th { padding: .3rem .7rem; border: 1px solid var(--edge); text-align: left; vertical-align: top; }
"""


def docs_folder() -> Path:
    """Return the folder of the documents; `SettingsError` if they were not installed."""
    for place in _PLACES:
        if (place / f"{START}.md").is_file():
            return place
    raise SettingsError(say("The manual is not in this installation: install the program again."))


def make_manual(folder: Path) -> Path:
    """Write the manual as HTML and return its first page.

    Parameters
    ----------
    folder : Path
        Pages of this version go into a folder of their own in it; pages that are there already are used.

    Returns
    -------
    Path

    Raises
    ------
    SettingsError
        The documents are not there.
    RunError
        The pages cannot be written.
    """
    source = docs_folder()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(source.glob("*.md"))}
    digest = hashlib.sha256("\0".join([_STYLE, *texts.values()]).encode("utf-8")).hexdigest()[:12]
    place = folder / f"{__version__}-{digest}"
    try:
        if not (place / f"{START}.html").is_file():
            shutil.copytree(source / "images", place / "images", dirs_exist_ok=True)
            for name in [
                *(name for name in texts if name != START),
                START,
            ]:  # the first page last: it says all are there
                (place / f"{name}.html").write_text(page(name, texts), encoding="utf-8")
    except OSError as error:
        raise RunError(
            say("The manual cannot be written to {folder}: {why}.", folder=place, why=error.strerror or error)
        ) from error
    return place / f"{START}.html"


def page(name: str, texts: dict[str, str]) -> str:
    """Return a document as a page with links to all others.

    Parameters
    ----------
    name : str
        Of the document.
    texts : dict of str to str
        Markdown of all documents by their names.
    """
    titles = {one: _title(text, one) for one, text in texts.items()}
    order = sorted(titles, key=lambda one: (one != START, titles[one].casefold()))
    current = ' aria-current="page"'
    contents = "".join(
        f'<a href="{one}.html"{current if one == name else ""}>{html.escape(titles[one])}</a>' for one in order
    )
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(texts[name])
    for token in tokens:
        for part in token.children or []:
            _lead(part, texts)
    text = reader.renderer.render(tokens, reader.options, {})
    return _PAGE.format(
        title=html.escape(titles[name]), version=__version__, style=_STYLE, contents=contents, text=text
    )


def _title(text: str, name: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else name


def _lead(part: Token, texts: dict[str, str]) -> None:
    """Let a link to a document lead to its page; files beside the documents are not in the manual."""
    link = part.attrs.get("href")
    if part.type == "link_open" and isinstance(link, str):
        path, _, place = link.partition("#")
        if path.endswith(".md") and path.removesuffix(".md") in texts:
            part.attrs["href"] = path.removesuffix(".md") + ".html" + (f"#{place}" if place else "")
        elif not re.match(r"https?:|#", link):
            del part.attrs["href"]
