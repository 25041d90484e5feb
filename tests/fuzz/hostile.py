"""Subs with headers and data that are wrong on purpose, made of cards and bytes as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from zemosaic_engine.simulate.survey import PRESETS, simulate_survey

BLOCK = 2880
CARD = 80


def tiny_survey(folder: Path, seed: int = 1) -> Path:
    """A folder of sixteen good subs."""
    simulate_survey(folder, PRESETS["tiny"], seed=seed)
    return folder


def cards_of(path: Path) -> tuple[list[str], bytes]:
    """The cards of the first header without END, and the bytes behind it."""
    data = path.read_bytes()
    cards = []
    for start in range(0, len(data), CARD):
        card = data[start : start + CARD].decode("latin-1")
        if card.startswith("END "):
            break
        cards.append(card)
    return cards, data[-(-(start + CARD) // BLOCK) * BLOCK :]


def card(keyword: str, value: str) -> str:
    """A card with a value as it is to stand there."""
    return f"{keyword:<8}= {value:>20}"[:CARD].ljust(CARD)


def text_card(keyword: str, text: str) -> str:
    """A card with a string."""
    return f"{keyword:<8}= '{text}'".ljust(CARD)[:CARD]


def write(path: Path, cards: list[str], data: bytes) -> Path:
    """A file of these cards and bytes."""
    text = "".join(line.ljust(CARD)[:CARD] for line in (*cards, "END")).encode("latin-1")
    path.write_bytes(text + b" " * (-len(text) % BLOCK) + data)
    return path


def with_cards(source: Path, target: Path, *new: str) -> Path:
    """A copy of a sub whose cards of the same keywords are replaced by `new`, others added."""
    cards, data = cards_of(source)
    named = {line[:8]: line for line in new}
    kept = [named.pop(line[:8], line) for line in cards]
    return write(target, [*kept, *named.values()], data)


def copied(survey: Path, folder: Path) -> Path:
    """A copy of a survey's subs, to be made worse."""
    return Path(shutil.copytree(survey, folder, ignore=shutil.ignore_patterns("*.csv", "truth*")))
