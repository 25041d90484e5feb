"""Completion of commands, options and their values in shells, by argcomplete."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """What a shell has to run so that it completes ``zemosaic``.

    Parameters
    ----------
    shell : str
        One of `SHELLS`.
    """
    import argcomplete

    text: str = argcomplete.shellcode(["zemosaic"], shell=shell)
    return text


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end the process; do nothing if none asks."""
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options="long")
