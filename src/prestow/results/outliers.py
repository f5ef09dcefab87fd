"""Which of several siblings has a value that the others do not have: robust, and without a setting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

SIGMAS = 5.0
FEWEST = 4
"""Siblings below which nothing stands out: of three, any two may be the odd ones."""

_MAD = 1.4826  # of a normal distribution: its sigma over its median absolute deviation
_FLOOR = 0.01  # of the median: values that near are equal
_STEP = 0.1  # of the median, where most values are exactly equal


@dataclass(frozen=True, slots=True)
class Standing:
    """How one value stands among those of its siblings.

    Parameters
    ----------
    name : str
        What was measured.
    value : float
        Its own.
    low, high : float
        Of its siblings, those that stand out left out.
    siblings : int
        How many others have it.
    sigmas : float
        How far it is from their median, in robust sigmas.
    """

    name: str
    value: float
    low: float
    high: float
    siblings: int
    sigmas: float

    @property
    def stands_out(self) -> bool:
        """Whether it is further off than chance puts it."""
        return self.sigmas > SIGMAS

    def __str__(self) -> str:
        others = number(self.low) if self.low == self.high else f"{number(self.low)} to {number(self.high)}"
        return f"{'!! ' if self.stands_out else ''}{self.name} {number(self.value)} (others {others})"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        plain = {field: getattr(self, field) for field in self.__dataclass_fields__}
        return {**plain, "sigmas": round(self.sigmas, 2), "stands_out": self.stands_out}


def standings(measures: Mapping[str, Mapping[str, object]]) -> dict[str, tuple[Standing, ...]]:
    """Compare the measures of siblings, name by name; who stands out most comes first.

    Parameters
    ----------
    measures : mapping of sibling to mapping of name to value
        What is not a finite number is not compared; nor is a name that fewer than four have.

    Returns
    -------
    dict
        For each sibling, how each of its numbers stands; the furthest first.

    Examples
    --------
    >>> sky = {"a": 201, "b": 207.5, "c": 214, "d": 812, "e": 203}
    >>> found = standings({k: {"sky": v} for k, v in sky.items()})
    >>> [k for k, (s,) in found.items() if s.stands_out], str(found["d"][0])
    (['d'], '!! sky 812 (others 201 to 214)')
    """
    found: dict[str, list[Standing]] = {key: [] for key in measures}
    for name in dict.fromkeys(name for own in measures.values() for name in own):
        values = {
            key: float(value)
            for key, own in measures.items()
            if isinstance(value := own.get(name), int | float) and _counts(value)
        }
        if len(values) < FEWEST:
            continue
        whole = all(isinstance(own[name], int) for own in measures.values() if name in own)
        middle, sigma = _middle(values.values(), whole=whole)
        far = {key: abs(value - middle) / sigma for key, value in values.items()}
        inside = {key: value for key, value in values.items() if far[key] <= SIGMAS} or values
        ends, all_ends = _ends(inside), _ends(values)
        for key, value in values.items():
            low, high = _without(key, ends) or _without(key, all_ends) or (value, value)
            found[key].append(Standing(name, value, low, high, len(values) - 1, far[key]))
    return {key: tuple(sorted(own, key=lambda s: -s.sigmas)) for key, own in found.items()}


def _ends(values: Mapping[str, float]) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Give the two least and the two greatest: without any one of them, one is left."""
    ordered = sorted(values.items(), key=lambda pair: pair[1])
    return ordered[:2], ordered[:-3:-1]


def _without(
    key: str, ends: tuple[list[tuple[str, float]], list[tuple[str, float]]]
) -> tuple[float, float] | None:
    """Give the least and the greatest but for one sibling; None if there is no other."""
    low, high = ([value for other, value in end if other != key] for end in ends)
    return (low[0], high[0]) if low and high else None


def _counts(value: float) -> bool:
    return not isinstance(value, bool) and math.isfinite(value)


def _middle(values: Iterable[float], *, whole: bool) -> tuple[float, float]:
    """Give the median, and a sigma that equal values cannot bring to nothing."""
    values = list(values)
    middle = median(values)
    apart = sorted(abs(value - middle) for value in values)
    # Most are equal: it is a measure in steps. One step is no reason for alarm, nor are two values.
    scatter = _MAD * median(apart) or max(apart[-2], _STEP * abs(middle))
    return middle, max(scatter, _FLOOR * abs(middle), float(whole), 1e-300)


def number(value: float) -> str:
    """Give a number as people read it: four digits, or all of a whole one.

    Examples
    --------
    >>> number(812.0), number(0.0123456), number(20261101.0)
    ('812', '0.01235', '20261101')
    """
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"  # noqa: PLR2004 - digits of a float
