"""A WCS that is the same, bit by bit, in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from astropy.wcs import WCS, Sip

_OF_WCSLIB = ("ctype", "cunit", "crval", "crpix", "lonpole", "latpole", "radesys", "equinox")


class ExactWCS(WCS):
    """A WCS that is pickled by its numbers.

    Astropy pickles the cards of a header, on which numbers have fourteen digits. Kept here is what a celestial WCS of
    two axes has: its linear terms, its reference point and poles, projection parameters and SIP.
    """

    def __reduce__(self) -> tuple[Callable[..., WCS], tuple[Any, ...]]:
        """Pickle the numbers."""
        own = self.wcs
        linear = {"cd": own.cd} if own.has_cd() else {"pc": own.get_pc(), "cdelt": own.get_cdelt()}
        facts = {name: _plain(getattr(own, name)) for name in _OF_WCSLIB} | linear
        sip = None if self.sip is None else (self.sip.a, self.sip.b, self.sip.ap, self.sip.bp, self.sip.crpix)
        return _made, (type(self), facts, list(own.get_pv()), sip, self.pixel_shape)


def _plain(value: Any) -> Any:
    """Lists of texts and of units that belong to wcslib, as their own."""
    return [str(each) for each in value] if type(value).__name__.endswith("ListProxy") else value


def _made(
    kind: type[WCS],
    facts: dict[str, Any],
    parameters: list[tuple[int, int, float]],
    sip: tuple[Any, ...] | None,
    pixel_shape: tuple[int, ...] | None,
) -> WCS:
    """The WCS with these numbers."""
    wcs = kind(naxis=2)
    for name, value in facts.items():
        setattr(wcs.wcs, name, value)
    wcs.wcs.set_pv(parameters)
    if sip is not None:
        wcs.sip = Sip(*sip)
    wcs.pixel_shape = pixel_shape
    wcs.wcs.set()
    return wcs
