"""Two runs, plans or directories compared: which datasets are equal, and how far the others are apart.

Datasets of the same type and data ID are compared. Where the content digests agree nothing is read:
equal content is equal pixels, columns and keys, whatever the run, the time and the place. Where the
formats are not the same, tables are compared by columns and documents by keys.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.notebook import html_table
from prestow.results.across import compare_across
from prestow.results.differences import Part, compare_files
from prestow.results.numbers import Tolerance
from prestow.results.places import Places
from prestow.results.sides import Side

KEY = ("type", "data_id")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two datasets of one type and data ID whose content is not the same.

    Parameters
    ----------
    state : str
        ``different``; ``close``, if all is within the tolerance; ``unreadable``, if one of the two
        files cannot be read.
    parts : tuple of Part
        In what, worst first.
    problem : str
        Why it cannot be read.
    """

    type: str
    data_id: str
    a: str
    b: str
    state: str
    parts: tuple[Part, ...] = ()
    problem: str = ""

    @property
    def badness(self) -> float:
        """How bad it is, to sort by."""
        return max((part.badness for part in self.parts if not part.close), default=0.0)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the difference as plain values."""
        return {
            "type": self.type, "data_id": self.data_id, "a": self.a, "b": self.b, "state": self.state,
            "parts": [part.as_dict() for part in self.parts], "problem": self.problem,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Parameters
    ----------
    a, b : str
        What was compared.
    types : mapping of dataset type to mapping of state to int
        ``equal``, ``close``, ``different``, ``unreadable``, ``only_a``, ``only_b``.
    differences : tuple of Difference
        Worst first; those that are close come last.
    only_a, only_b : tuple of (type, data ID)
        What only one of them has.
    formats : mapping of dataset type to two texts
        Of types that A has in another format than B: both. They are equal where their data are.
    """

    a: str
    b: str
    types: Mapping[str, Mapping[str, int]]
    differences: tuple[Difference, ...] = ()
    only_a: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    only_b: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    formats: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Datasets by state, over all types."""
        total = dict.fromkeys(STATES, 0)
        for counts in self.types.values():
            for state, count in counts.items():
                total[state] += count
        return total

    @property
    def same(self) -> bool:
        """Whether both have the same datasets, each equal or within the tolerance."""
        counts = self.counts
        return not any(counts[state] for state in STATES[2:])

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the comparison as plain values."""
        return {
            "a": self.a, "b": self.b, "same": self.same, "counts": self.counts,
            "types": {name: dict(counts) for name, counts in self.types.items()},
            "differences": [difference.as_dict() for difference in self.differences],
            "only_a": [list(row) for row in self.only_a], "only_b": [list(row) for row in self.only_b],
            "formats": {name: list(pair) for name, pair in self.formats.items()},
        }  # fmt: skip

    def _repr_html_(self) -> str:
        worst = [
            f"{d.type} {d.data_id}: {d.parts[0].text if d.parts else d.problem}"
            for d in self.differences[:10]
        ]
        header = ["type", *(state.replace("_", " ") for state in STATES)]
        rows = [[name, *counts.values()] for name, counts in self.types.items()]
        return html_table(header, rows, caption=f"{self.a} / {self.b}", notes=worst)


STATES = ("equal", "close", "different", "unreadable", "only_a", "only_b")


def compare(
    a: Side,
    b: Side,
    stores: Mapping[str, str],
    *,
    types: Sequence[str] = (),
    tolerance: Tolerance | None = None,
    keys: Sequence[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Compare all datasets that two sides share.

    Parameters
    ----------
    stores : mapping of name to URI
        Where the files are.
    types : sequence of str
        Only these dataset types.
    keys : sequence of str
        Columns by which rows of tables are matched.
    progress : callable, optional
        Told how many files of how many are read.

    Raises
    ------
    ProjectError
        PST-G021 if they share nothing; PST-G007 if neither has a type that is asked for.
    """
    left, right = a.datasets, b.datasets
    if types:
        _refuse_unknown(types, left, right)
        left, right = (frame.filter(pl.col("type").is_in(list(types))) for frame in (left, right))
    both = left.join(right, on=KEY, how="inner", suffix="_b").sort(KEY)
    if not both.height:
        what = f"they share no dataset: {_told(a.name, left)}; {_told(b.name, right)}"
        fix = "compare runs of the same tasks on the same data, or files of one name"
        raise ProjectError(Problem("PST-G021", what, f"{a.name} and {b.name}", fix))
    equal = both.filter(pl.col("content") == pl.col("content_b"))
    rest = both.filter(~(pl.col("content") == pl.col("content_b")).fill_null(value=False))
    found = list[Difference]()
    alike = Counter[str]()
    places = Places(stores)
    for done, row in enumerate(rest.iter_rows(named=True)):  # each is two files to read
        if progress is not None:
            progress(done, rest.height)
        difference = _compared(row, places, tolerance or Tolerance(), keys)
        if difference is None:
            alike[row["type"]] += 1
        else:
            found.append(difference)
    if progress is not None and rest.height:
        progress(rest.height, rest.height)
    found.sort(key=lambda d: (_ORDER[d.state], -d.badness, d.type, d.data_id))
    lone = [x.join(y, on=KEY, how="anti").sort(KEY).select(KEY) for x, y in ((left, right), (right, left))]
    names = sorted({*left["type"], *right["type"]})
    tables = {"equal": equal["type"], "only_a": lone[0]["type"], "only_b": lone[1]["type"]}
    states = {name: dict.fromkeys(STATES, 0) for name in names}
    for state, column in tables.items():
        for name, count in column.value_counts().iter_rows():
            states[name][state] = count
    for name, count in alike.items():
        states[name]["equal"] += count
    for difference in found:
        states[difference.type][difference.state] += 1
    across = both.filter(pl.col("format") != pl.col("format_b")).select("type", "format", "format_b").unique()
    return Comparison(
        a.name, b.name, states, tuple(found), tuple(lone[0].iter_rows()), tuple(lone[1].iter_rows()),
        {kind: (one, other) for kind, one, other in across.sort("type").iter_rows()},
    )  # fmt: skip


_ORDER = {"unreadable": 0, "different": 1, "close": 2}


def _refuse_unknown(types: Sequence[str], left: pl.DataFrame, right: pl.DataFrame) -> None:
    known = sorted({*left["type"], *right["type"]})
    for name in types:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"they have {', '.join(known) or 'nothing'}"
            raise ProjectError(Problem("PST-G007", f"neither has datasets of type '{name}'", "--type", fix))


def _told(name: str, frame: pl.DataFrame) -> str:
    counts = sorted(frame["type"].value_counts().iter_rows())
    return f"{name} has {', '.join(f'{count:,} {kind}' for kind, count in counts) or 'nothing'}"


def _compared(
    row: Mapping[str, Any], places: Places, tolerance: Tolerance, keys: Sequence[str]
) -> Difference | None:  # Any: a row
    """Give how two datasets differ; None if they are equal in data, told in two formats."""
    kind, data_id, a, b = row["type"], row["data_id"], row["path"], row["path_b"]
    formats = row["format"] or "", row["format_b"] or ""
    across = formats[0] != formats[1]
    try:
        with places.file(row["store"], a) as one, places.file(row["store_b"], b) as other:
            if across:
                parts = compare_across(formats, one, other, tolerance, keys)
            else:
                parts = compare_files(formats[0], one, other, tolerance, keys)
    except PrestowError as error:
        if error.problems[0].code == "PST-G005":  # the question is wrong, not the file
            raise
        return Difference(kind, data_id, a, b, "unreadable", (), error.problems[0].what)
    if not parts and across:
        return None
    if not parts and keys and formats[0] in ("fits", "parquet"):
        same = Part("file", "content", f"equal values, matched by {', '.join(keys)}")
        return Difference(kind, data_id, a, b, "close", (same,))
    if not parts:  # the order of cards, or bytes after the last HDU
        parts = (Part("file", "content", "equal values, written in another way"),)
    state = "close" if all(part.close for part in parts) else "different"
    return Difference(kind, data_id, a, b, state, parts)
