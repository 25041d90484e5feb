"""The manual: the documents as pages whose links and pictures are there."""

import re
from pathlib import Path

from zemosaic_app.manual import docs_folder, make_manual, page


def test_every_document_is_a_page_whose_links_and_pictures_are_there(tmp_path):
    first = make_manual(tmp_path)
    pages = {path.name: path.read_text(encoding="utf-8") for path in first.parent.glob("*.html")}
    assert {Path(name).stem for name in pages} == {path.stem for path in docs_folder().glob("*.md")}
    assert first.name == "windows.html"
    for name, text in pages.items():
        assert f'<a href="{name}" aria-current="page">' in text
        for link in re.findall(r'(?:href|src)="([^"#]+)', text):
            assert link.startswith("http") or (first.parent / link).is_file(), f"{name}: {link}"
    assert make_manual(tmp_path) == first


def test_tables_and_markup_become_html():
    texts = {
        "windows": "# A `b` & c\n\n|x|y|\n|-|-|\n|1|<b>2|\n\n[to](other.md#place) [out](../README.md)",
        "other": "# O",
    }
    made = page("windows", texts)
    assert "<title>A b &amp; c - ZeMosaic" in made
    assert "<td>&lt;b&gt;2</td>" in made
    assert '<a href="other.html#place">to</a> <a>out</a>' in made
