"""Write docs/settings.md, the reference of all settings, from the model that declares them.

::

    python tools/settings_page.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from zemosaic_app.options import GROUP_TITLES
from zemosaic_engine.settings import SettingField, setting_fields

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_CLASSIC = "classic"  # the group of settings that only the classic flow has
_REDONE = {
    "plan": "the plan of the run",
    "measure": "the measurement of the subs",
    "solve": "the solution of survey photometry",
    "stack": "the tiles",
    "join": "the mosaic",
    "none": "nothing",
}
_HEAD = """# Settings

Every setting is an option of `zemosaic classic`, and of `zemosaic grid` unless it belongs to the classic flow. It is
also a key of a settings file and a field in the windows. `python tools/settings_page.py` makes this page from the model
in `zemosaic_engine/settings.py`.

*Repeats* names the first result that a run with another value has to make again; all that depends on it follows
([interrupted runs](survive.md)).
"""


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    groups = dict.fromkeys(field.group for field in setting_fields())
    for group in groups:
        title = GROUP_TITLES[group]
        only = " (`zemosaic classic` only)" if group == _CLASSIC else ""
        parts.append(f"## {title[0].upper()}{title[1:]}{only}\n")
        parts += [_entry(field) for field in setting_fields() if field.group == group]
    return "\n".join(parts)


def _entry(field: SettingField) -> str:
    """Return the paragraph of a setting."""
    option = f"{field.option}, --no-{field.option[2:]}" if field.kind == "bool" else field.option
    facts = [f"default {_shown(field.default)}"]
    if field.kind != "bool":
        facts.append(field.expects)
    facts.append(f"repeats {_REDONE[field.stage]}")
    return f"**`{field.name}`** (`{option}`): {field.help}  \n{'; '.join(facts)}.\n"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, tuple | list):
        return f"`{list(value)}`"
    return f"`{value}`" if value != "" else "empty"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} written, {len(setting_fields())} settings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
