"""The columns of a FITS table as names and Arrow types, from its header alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from prestow.formats.fits_cards import Value

_FORM: Final = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_TYPES: Final = {
    "L": "bool", "B": "uint8", "I": "int16", "J": "int32", "K": "int64", "E": "float32", "D": "float64", "A": "string",
    "C": "complex64", "M": "complex128",
}  # fmt: skip
_UNSIGNED: Final = {
    ("I", 1 << 15): "uint16",
    ("J", 1 << 31): "uint32",
    ("K", 1 << 63): "uint64",
    ("B", -128): "int8",
}


def columns_of(values: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    """Give name and type of each column of a binary table; several values in a cell as ``float32[3]``.

    Examples
    --------
    >>> header = {"TFIELDS": 2, "TTYPE1": "id", "TFORM1": "K", "TTYPE2": "name", "TFORM2": "12A"}
    >>> columns_of(header)
    (('id', 'int64'), ('name', 'string'))
    """
    count = values.get("TFIELDS", 0)
    return tuple(
        (str(values.get(f"TTYPE{i}", f"col{i}")), _type(values, i))
        for i in range(1, (count if isinstance(count, int) else 0) + 1)
    )


def _type(values: Mapping[str, Value], number: int) -> str:
    form = str(values.get(f"TFORM{number}", "")).strip()
    match = _FORM.match(form)
    if match is None or match[2] not in _TYPES:
        return form
    repeat, letter = int(match[1] or 1), match[2]
    name = _TYPES[letter]
    zero, scale = values.get(f"TZERO{number}"), values.get(f"TSCAL{number}", 1)
    if isinstance(zero, int | float) and letter in "BIJK":
        name = _UNSIGNED.get((letter, int(zero)), "float64") if scale == 1 else "float64"
    elif scale != 1:
        name = "float64"
    return name if repeat == 1 or letter == "A" else f"{name}[{repeat}]"
