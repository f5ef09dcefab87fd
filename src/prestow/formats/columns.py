"""Declared columns of a table against those of a file; formats of tables share it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prestow.formats.plain import damaged

Columns = Sequence[tuple[str, str]]
"""Name and Arrow type of each column, in order: ``int32 int64 float32 float64 string bool`` …"""


def differences(found: Columns, declared: Columns) -> tuple[str, ...]:
    """Say in what the columns of a file differ from those declared: names, types, then order.

    Examples
    --------
    >>> differences([("id", "int64"), ("f", "float32")], [("id", "int64"), ("flux", "float64")])
    ("column 'flux' (float64) is missing", "column 'f' (float32) is not declared")
    >>> differences([("b", "bool"), ("a", "bool")], [("a", "bool"), ("b", "string")])
    ("column 'b' is bool, declared as string", 'the order is b, a, declared as a, b')
    """
    there, wanted = dict(found), dict(declared)
    missing = [f"column '{n}' ({t}) is missing" for n, t in declared if n not in there]
    extra = [f"column '{n}' ({t}) is not declared" for n, t in found if n not in wanted]
    other = [
        f"column '{n}' is {t}, declared as {wanted[n]}" for n, t in found if n in wanted and wanted[n] != t
    ]
    result = [*missing, *extra, *other]
    order = [n for n, _ in found if n in wanted], [n for n, _ in declared if n in there]
    if order[0] != order[1]:
        result.append(f"the order is {', '.join(order[0])}, declared as {', '.join(order[1])}")
    return tuple(result)


def refuse_columns(path: Path, found: Columns, declared: Columns) -> None:
    """Raise one PST-N008 with all `differences`, if there are any."""
    wrong = differences(found, declared)
    if wrong:
        fix = "write the declared columns, or change 'columns' of the dataset type"
        raise damaged(f"other columns than declared: {'; '.join(wrong)}", path, fix)
