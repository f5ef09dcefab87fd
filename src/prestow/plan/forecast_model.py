"""How much something will be, with a 90 % interval: from past runs, else from what a person guessed.

Of one dataset type (or task) a `Rule` says what one file (or quantum) comes to: a constant, and more for each
input where that shows. Runs differ from each other as a whole, by their sky, their hosts and their
configuration, so a sum over a million files is no surer than that: the interval is that of the next run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEVEL = 0.9
"""How often the truth shall lie in an interval."""

GUESS = 3.0
"""A person's hint may be wrong by this factor, either way."""

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_FEW = 8  # with fewer observations no slope is looked for
_SURE = 3.0  # a slope counts if it is so many times its error
_BELIEF = 4.0  # degrees of freedom that the prior spread of runs is worth
_BELIEF_WITHIN = 2.0  # the same for the spread inside a run


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before anything was seen: relative spreads between runs, and inside one."""

    between: float
    within: float


BYTES = Prior(0.06, 0.3)
SECONDS = Prior(0.15, 0.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that is not known yet, and the interval it lies in with a probability of 90 %."""

    value: float
    low: float
    high: float

    def __add__(self, other: Estimate) -> Estimate:
        """Give the sum of two that err independently."""
        down = math.hypot(self.value - self.low, other.value - other.low)
        up = math.hypot(self.high - self.value, other.high - other.value)
        value = self.value + other.value
        return Estimate(value, value - down, value + up)

    def plus(self, sure: float) -> Estimate:
        """Give the sum with something that is known."""
        return Estimate(self.value + sure, self.low + sure, self.high + sure)

    def holds(self, value: float) -> bool:
        """Say whether a number lies in the interval; a part in a million does not matter."""
        return self.low * (1 - 1e-6) <= value <= self.high * (1 + 1e-6)


NOTHING = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one file of a type, or one quantum of a task, comes to.

    Parameters
    ----------
    source : str
        ``runs``, ``hints``, ``assumed`` (of the node's own small files) or ``unknown``.
    constant, per_input : float
        A file comes to ``constant + per_input * inputs``, inputs being those of its quantum.
    within : float
        Relative variance of one inside a run.
    runs : mapping of run to (float, float)
        Of each past run the logarithm of what it came to over what the rule says, and the variance
        of that because only so many were looked at.
    """

    source: str
    constant: float = 0.0
    per_input: float = 0.0
    within: float = 0.0
    runs: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def total(self, count: float, inputs: float) -> float:
        """Give what so many come to that have so many inputs in all."""
        return self.constant * count + self.per_input * inputs


UNKNOWN = Rule("unknown")


@dataclass(frozen=True, slots=True)
class Part:
    """A summand: what its rule expects of so many files or quanta."""

    rule: Rule
    expected: float
    count: float


def learn(values: Array, inputs: Array, runs: Sequence[str], prior: Prior) -> Rule:
    """Learn a rule from what single files, or quanta, came to.

    Parameters
    ----------
    values, inputs : array
        One for each; at least one.
    runs : sequence of str
        The run of each.
    prior : Prior
        `BYTES` or `SECONDS`.

    Examples
    --------
    >>> inputs = np.array([1.0, 2, 3, 4] * 4)
    >>> rule = learn(100 + 10 * inputs, inputs, ["w30"] * 16, BYTES)
    >>> round(rule.constant), round(rule.per_input), round(rule.total(2, 7))
    (100, 10, 270)
    """
    names, codes = np.unique(np.asarray(runs), return_inverse=True)
    values = np.maximum(values, 1e-6)  # nothing costs nothing, and logarithms are taken
    constant, per_input = _line(values, inputs, codes, len(names))
    rule = constant + per_input * inputs
    sums = np.bincount(codes, rule)
    ratios = np.bincount(codes, values) / sums
    off = values / (rule * ratios[codes]) - 1
    freedom = values.size - len(names)
    within = (_BELIEF_WITHIN * prior.within**2 + float(np.sum(off**2))) / (_BELIEF_WITHIN + freedom)
    errors = within * np.bincount(codes, rule**2) / sums**2
    logs = np.log(ratios)
    weights = 1 / (prior.between**2 + errors)
    middle = float(np.sum(weights * logs) / np.sum(weights))
    scale = math.exp(middle)
    seen = {
        str(name): (float(log) - middle, float(error))
        for name, log, error in zip(names, logs, errors, strict=True)
    }
    return Rule("runs", constant * scale, per_input * scale, within, seen)


def _line(values: Array, inputs: Array, codes: npt.NDArray[np.intp], runs: int) -> tuple[float, float]:
    """Fit a line by least squares inside the runs; a constant where there is no rise to be sure of."""
    level = float(values.mean()), 0.0
    counts = np.bincount(codes)
    x = inputs - (np.bincount(codes, inputs) / counts)[codes]
    y = values - (np.bincount(codes, values) / counts)[codes]
    squares, freedom = float(x @ x), values.size - runs - 1
    if values.size < _FEW or freedom < 1 or squares <= 0:
        return level
    slope = float(x @ y) / squares
    rest = y - slope * x
    error = math.sqrt(float(rest @ rest) / freedom / squares)
    if slope <= _SURE * error:
        return level
    constant = level[0] - slope * float(inputs.mean())
    return (constant, slope) if constant >= 0 else (0.0, level[0] / float(inputs.mean()))


def guess(expected: float, source: str = "hints") -> Rule:
    """Give the rule that a person's guess is."""
    return Rule(source, expected)


def add_up(parts: Sequence[Part], prior: Prior) -> Estimate:
    """Give the sum of parts: what past runs tell together, and guesses, which all err alike.

    What is unknown adds nothing.
    """
    known = [part for part in parts if part.expected > 0]
    total = _by_runs([part for part in known if part.rule.source == "runs"], prior)
    for source in ("hints", "assumed"):
        value = sum(part.expected for part in known if part.rule.source == source)
        total += Estimate(value, value / GUESS, value * GUESS)
    return total


def noise(parts: Sequence[Part]) -> float:
    """Give the relative variance of a sum because its parts are single files, each with its own chance."""
    known = [part for part in parts if part.expected > 0 and part.count > 0]
    total = sum(part.expected for part in known)
    return sum((part.expected / total) ** 2 * part.rule.within / part.count for part in known)


def _by_runs(parts: Sequence[Part], prior: Prior) -> Estimate:
    expected = sum(part.expected for part in parts)
    if not expected:
        return NOTHING
    logs, errors = _deviations(parts, expected)
    freedom = _BELIEF + logs.size - 1
    scatter = float(np.sum((logs - logs.mean()) ** 2) - np.sum(errors) * (logs.size - 1) / logs.size)
    between = (_BELIEF * prior.between**2 + max(scatter, 0.0)) / freedom
    weights = 1 / (between + errors)
    middle = float(np.sum(weights * logs) / np.sum(weights))
    value, reach = expected * math.exp(middle), student(freedom)
    # Runs differ by factors; the chance of single files evens out, which is a matter of sums.
    factor = math.exp(reach * math.sqrt(between * (1 + 1 / logs.size)))
    sampled = max(1 / float(np.sum(weights)) - between / logs.size, 0.0)
    chance = reach * math.sqrt(sampled + noise(parts))
    low = max(1 - math.hypot(1 - 1 / factor, chance), math.exp(-chance) / factor)
    return Estimate(value, value * low, value * (1 + math.hypot(factor - 1, chance)))


def _deviations(parts: Sequence[Part], expected: float) -> tuple[Array, Array]:
    """Give how far each past run was off, had it been of these parts; and the variance of each by sampling.

    So what goes up and down together in a run does so here. A part that a run lacks is as expected; a run
    counts if it has half of the whole, or if none has.
    """
    runs = sorted({run for part in parts for run in part.rule.runs})
    share = {run: sum(part.expected for part in parts if run in part.rule.runs) / expected for run in runs}
    counting = [run for run in runs if share[run] >= 0.5] or runs  # noqa: PLR2004 - half
    logs, errors = [], []
    for run in counting:
        total, error = 0.0, 0.0
        for part in parts:
            log, variance = part.rule.runs.get(run, (0.0, 0.0))
            total += part.expected * math.exp(log)
            error += (part.expected / expected) ** 2 * variance
        logs.append(math.log(total / expected))
        errors.append(error)
    return np.array(logs), np.array(errors)


def student(freedom: float) -> float:
    """Give the quantile of Student's distribution that bounds the interval; freedom at least 3.

    Examples
    --------
    >>> round(student(3), 2), round(student(30), 2)
    (2.35, 1.7)
    """
    z, n = _Z, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / n**power for power, term in enumerate(terms, 1))


def largest(expected: Estimate, variance: float, count: int) -> Estimate:
    """Give the largest of so many alike, each with its own chance: it is more than one of them."""
    if count <= 1 or variance <= 0:
        return expected
    rise = math.exp(math.sqrt(variance) * NormalDist().inv_cdf(1 - 0.5 / count))
    return Estimate(expected.value * rise, expected.low, expected.high * rise)


def size_text(size: float) -> str:
    """Give a number of bytes with three digits, as people read it; less than none is none.

    Examples
    --------
    >>> size_text(1.42e12), size_text(-5)
    ('1.42 TB', '0 B')
    """
    size = max(size, 0.0)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:  # noqa: PLR2004 - the next unit begins
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"
