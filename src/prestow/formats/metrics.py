"""Metrics of a document: the numbers under its top key ``metrics``, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prestow.errors import Problem, TaskError

METRICS: Final = "metrics"
"""The top key of a document whose numbers can be asked for, once it is taken in."""

_KINDS: Final = {
    type(None): "nothing",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
}


def metrics_of(document: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Give the numbers and truth values (as 0 and 1) under the key ``metrics``, if there is one.

    The names of nested mappings are joined by dots. Text, lists and null have no place in a table of numbers
    and are left out; they stay in the document.

    Raises
    ------
    TaskError
        PST-N011 if ``metrics`` is not a mapping, a name stands twice, or a number is beyond 64-bit
        floating point.

    Examples
    --------
    >>> metrics_of({"metrics": {"seeing": 1.5, "psf": {"good": True, "model": "moffat"}}}, Path("a"))
    {'seeing': 1.5, 'psf.good': 1.0}
    """
    if METRICS not in document:
        return {}
    block = document[METRICS]
    if not isinstance(block, Mapping):
        kind = _KINDS.get(type(block), type(block).__name__)
        raise _refused(f"'{METRICS}' must be a mapping of names to numbers, not {kind}", path)
    result: dict[str, float] = {}
    for name, number in _flat(block, ""):
        if name in result:
            raise _refused(f"the metric '{name}' stands twice", path)
        try:
            result[name] = float(number)
        except OverflowError as error:
            raise _refused(f"the metric '{name}' is too large: {str(number)[:20]}…", path) from error
    return result


def _flat(block: Mapping[str, Any], above: str) -> Iterator[tuple[str, float]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, bool | int | float):
            yield f"{above}{key}", value


def _refused(what: str, path: Path) -> TaskError:
    fix = "write 'metrics: {name: number, …}', or call what is no table of numbers by another name"
    return TaskError(Problem("PST-N011", what, str(path), fix))
