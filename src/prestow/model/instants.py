"""Instants and intervals: nanoseconds of TAI since 1970, half-open, with ends that may be open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from prestow.model.universe import Universe

ALWAYS = -(2**63)
"""The begin of an interval that has always been."""

FOREVER = 2**63 - 1
"""The end of an interval that has none."""

NIGHT = "day_obs"
"""The dimension that tells observing nights apart."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BILLION = 1_000_000_000


def instant(text: str) -> int:
    """Give nanoseconds of TAI since 1970-01-01 00:00:00 TAI, of an ISO date, or date and time, in TAI.

    Examples
    --------
    >>> instant("1970-01-02"), instant("1970-01-01T00:00:01.5")
    (86400000000000, 1500000000)

    Raises
    ------
    ValueError
        If the text is none, or has a zone.
    """
    whole, dot, fraction = text.strip().partition(".")
    if dot and not (fraction.isascii() and fraction.isdigit() and 1 <= len(fraction) <= 9):  # noqa: PLR2004 - nanoseconds
        raise ValueError("not a fraction of a second in nanoseconds, without a zone")
    moment = datetime.fromisoformat(whole)
    if moment.tzinfo is not None:
        raise ValueError("a time of TAI has no zone")
    seconds = (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
    return _inside(seconds * _BILLION + int((fraction + "0" * 9)[:9]))


def _inside(value: int) -> int:
    if not ALWAYS < value < FOREVER:
        raise ValueError("outside the years 1678 to 2262")
    return value


def instant_text(value: int) -> str:
    """Give nanoseconds of TAI as an ISO date, or date and time; an open end is ``…``.

    Examples
    --------
    >>> instant_text(instant("2017-08-01")), instant_text(instant("2017-08-01T04:00:00.25"))
    ('2017-08-01', '2017-08-01T04:00:00.25')
    >>> instant_text(FOREVER)
    '…'
    """
    if value in (ALWAYS, FOREVER):
        return "…"
    seconds, rest = divmod(value, _BILLION)
    text = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    if rest:
        return f"{text}.{rest:09d}".rstrip("0")
    return text.removesuffix("T00:00:00")


def interval_text(begin: int, end: int) -> str:
    """Give a half-open interval as people write it.

    Examples
    --------
    >>> interval_text(instant("2017-08-01"), FOREVER)
    '[2017-08-01, …)'
    """
    return f"{'(' if begin == ALWAYS else '['}{instant_text(begin)}, {instant_text(end)})"


def begins(universe: Universe, dimension: str) -> bool:
    """Say whether the records of a dimension tell when each began: whether it is an observation."""
    return universe.dimensions[dimension].metadata.get("begin") == "time"


def observation(universe: Universe, dimensions: Iterable[str]) -> str | None:
    """Give the dimension, among some, whose begin is the moment of a quantum; of several the first by name.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> observation(load_universe(), ["detector", "visit"])
    'visit'
    """
    return next((d for d in sorted(dimensions) if begins(universe, d)), None)


def timeless(universe: Universe, dimensions: Iterable[str]) -> tuple[str, ...]:
    """Give the dimensions that tell calibrations apart at one moment: all but observations and nights.

    Calibrations that agree in these take turns; when each is valid is certified, and no matter of names.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> timeless(load_universe(), ["instrument", "day_obs", "detector"])
    ('detector', 'instrument')
    """
    return tuple(d for d in sorted(dimensions) if d != NIGHT and not begins(universe, d))
