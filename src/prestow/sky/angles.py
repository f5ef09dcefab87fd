"""Angles as people write them: a number with its unit."""

from __future__ import annotations

import re
from decimal import Decimal

UNITS = {"deg": Decimal(1), "arcmin": 1 / Decimal(60), "arcsec": 1 / Decimal(3600)}
_ANGLE = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([a-z]+)\s*")
SHARD_PADDING = 5 / 60
"""Degrees: up to so far apart are separations between footprints, or patches, and shards computed."""

HELP = "write a number with its unit: 30 arcsec, 1.5 arcmin, 0.25 deg"


def read_angle(value: object) -> float:
    """Give an angle in degrees.

    Parameters
    ----------
    value : str
        A number and ``deg``, ``arcmin`` or ``arcsec``.

    Raises
    ------
    ValueError
        If it is anything else, also a number without unit.

    Examples
    --------
    >>> read_angle("90 arcsec"), read_angle("-12.5 deg")
    (0.025, -12.5)
    """
    found = _ANGLE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in UNITS:
        raise ValueError(f"not an angle: {value!r}")
    return float(Decimal(found[1]) * UNITS[found[2]])


def angle_text(degrees: float) -> str:
    """Give an angle in the unit that reads best, for people.

    Examples
    --------
    >>> angle_text(0.025), angle_text(1.5), angle_text(0.25)
    ('90 arcsec', '1.5 deg', '15 arcmin')
    """
    size = abs(degrees)
    if size >= 1 or not size:
        return f"{degrees:.6g} deg"
    return f"{degrees * 60:.6g} arcmin" if size >= 1 / 30 else f"{degrees * 3600:.6g} arcsec"
