"""A table of data IDs that a person wrote: CSV, ECSV or Parquet, checked whole against the universe."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import polars as pl

from prestow.errors import ConfigurationError, Problem, raise_all
from prestow.model.hashing import canonical_json
from prestow.model.universe import Universe

SHOWN = 5
"""Wrong values of a column that are named."""

_SUFFIXES = {".csv": "csv", ".ecsv": "ecsv", ".parquet": "parquet", ".pq": "parquet"}
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class DataIds:
    """Data IDs, each once and sorted; two of equal content have equal digests.

    Parameters
    ----------
    place : str
        The file, for messages.
    frame : DataFrame
        A column for each dimension, in the order of their names; integers or text, nothing null.
    digest : str
        Of the content: neither the order of rows and columns nor the kind of file is in it.
    """

    place: str
    frame: pl.DataFrame
    digest: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The dimensions."""
        return tuple(self.frame.columns)


@dataclass(frozen=True, slots=True)
class _Text:
    """A table of text as read: names, fields, and the line of each row; the names are row -1."""

    path: Path
    separator: str
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    frame: pl.DataFrame

    def place(self, row: int, column: int) -> tuple[str, str]:
        """Give ``file:line:column`` of a field, and the line with a caret below it."""
        number = self.numbers[row + 1]
        text = self.lines[number - 1]
        at = _start(text, self.separator, column)
        return f"{self.path}:{number}:{at + 1}", f"{number:4d}| {text}\n    | {' ' * at}^"


def read_data_ids(path: Path, universe: Universe) -> DataIds:
    r"""Read a table whose columns are dimensions or their aliases.

    Raises
    ------
    ConfigurationError
        PST-C060 if the file cannot be read, PST-C061 with everything that is wrong in it: unknown and
        repeated columns, values of another type or none, no rows. Of text each at its line and column.

    Examples
    --------
    >>> import tempfile
    >>> from prestow.naming.universe import load_universe
    >>> with tempfile.TemporaryDirectory() as d:
    ...     _ = Path(d, "some.csv").write_text("visit,ccd\n12,007\n11,4\n12,7\n")
    ...     found = read_data_ids(Path(d, "some.csv"), load_universe())
    >>> found.columns, found.frame.rows()
    (('detector', 'visit'), [(4, 11), (7, 12)])
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        _unreadable(path, "a table of data IDs is .csv, .ecsv or .parquet", "save it as one of these")
    text: _Text | None = None
    try:
        if kind == "parquet":
            raw = pl.read_parquet(path, glob=False)
        else:
            text = _read_text(path, ecsv=kind == "ecsv")
            raw = text.frame
    except (OSError, UnicodeDecodeError, csv.Error, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        _unreadable(path, f"the table cannot be read: {reason}", "check the file")
    names = text.names if text is not None else tuple(raw.columns)
    columns, problems = _dimensions(names, universe, path, text)
    frame, more = _typed(raw, columns, universe, path, text)
    problems += more
    if not raw.height:
        problems.append(
            Problem("PST-C061", "the table has no rows", str(path), "write a row for each data ID")
        )
    raise_all(problems)
    frame = frame.select(sorted(frame.columns)).unique().sort(sorted(frame.columns))
    return DataIds(str(path), frame, _digest(frame))


def _unreadable(path: Path, what: str, fix: str) -> NoReturn:
    raise ConfigurationError(Problem("PST-C060", what, str(path), fix))


def _read_text(path: Path, *, ecsv: bool) -> _Text:
    """Read all fields as text; rows of another length are errors, each at its line.

    Line by line in Python, so that each value has its place: a person gave this table, and it names
    far fewer data IDs than there are quanta.
    """
    lines = tuple(path.read_text(encoding="utf-8-sig").splitlines())
    separator = _separator(lines) if ecsv else ","
    numbers = tuple(n for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#"))
    if not numbers:
        _unreadable(path, "the table is empty", "write the names of dimensions, then a row for each data ID")
    rows = list(
        csv.reader(
            (lines[n - 1] for n in numbers),
            delimiter=separator,
            skipinitialspace=separator == " ",
            strict=True,
        )
    )
    names = tuple(name.strip() for name in rows.pop(0))
    if len(rows) + 1 != len(numbers):
        _unreadable(path, "a value goes over several lines", "write each data ID on a line of its own")
    odd = [i for i, row in enumerate(rows) if len(row) != len(names)]
    raise_all(
        Problem(
            "PST-C061", f"{_counted(len(rows[i]), 'value')}, and there are {_counted(len(names), 'column')}",
            f"{path}:{numbers[i + 1]}:1", "write a value for each column", f"{numbers[i + 1]:4d}| {lines[numbers[i + 1] - 1]}",
        )
        for i in odd[:SHOWN]
    )  # fmt: skip
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    frame = pl.DataFrame([pl.Series(f"{i}", list(c), pl.String) for i, c in enumerate(columns)])
    return _Text(path, separator, lines, numbers, names, frame.with_columns(pl.all().str.strip_chars()))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _separator(lines: Sequence[str]) -> str:
    """Give what separates the fields of an ECSV file: its header says so, a blank if not."""
    for line in lines:
        key, _, value = line.lstrip("# ").partition(":")
        if line.startswith("#") and key == "delimiter":
            return value.strip().strip("'\"") or " "
    return " "


def _start(text: str, separator: str, column: int) -> int:
    """Give where a field of a line begins."""
    quoted, field = False, 0
    for at, character in enumerate(text):
        if field == column and not (character == " " and not quoted):
            return at
        quoted ^= character == '"'
        between = separator == " " and text[at + 1 : at + 2] == " "
        if character == separator and not quoted and not between:
            field += 1
    return len(text)


def _dimensions(
    names: Sequence[str], universe: Universe, path: Path, text: _Text | None
) -> tuple[dict[int, str], list[Problem]]:
    """Give the dimension of each column, by position."""
    found: dict[int, str] = {}
    problems = []
    known = [*universe.dimensions, *(a for d in universe.dimensions.values() for a in d.aliases)]
    for i, name in enumerate(names):
        dimension = universe.canonical(name.lower())
        place, excerpt = text.place(-1, i) if text is not None else (f"{path}, column {i + 1}", "")
        if dimension is None:
            near = difflib.get_close_matches(name.lower(), known, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"dimensions: {', '.join(universe.dimensions)}"
            problems.append(Problem("PST-C061", f"'{name}' is no dimension", place, fix, excerpt))
        elif dimension in found.values():
            what = f"{dimension} has two columns"
            problems.append(Problem("PST-C061", what, place, f"leave '{name}' out", excerpt))
        else:
            found[i] = dimension
    return found, problems


def _typed(
    raw: pl.DataFrame, columns: Mapping[int, str], universe: Universe, path: Path, text: _Text | None
) -> tuple[pl.DataFrame, list[Problem]]:
    """Give the columns in the types of their dimensions, and the first values that have none."""
    typed: list[pl.Series] = []
    problems: list[Problem] = []
    for i, dimension in columns.items():
        series = raw.to_series(i).alias(dimension)
        kind = universe.dimensions[dimension].type
        if text is None and not _fits(series.dtype, kind):
            what = f"{dimension} must be {'an integer' if kind == 'int' else 'text'}, and the column is {series.dtype}"
            problems.append(Problem("PST-C061", what, f"{path}, column {i + 1}", "convert the column"))
            continue
        values = series.cast(pl.Int64 if kind == "int" else pl.String, strict=False)
        odd = values.is_null() | (values == "" if kind == "str" else values.is_null())
        rows = odd.arg_true()
        for row in rows.head(SHOWN).to_list():
            place, excerpt = (
                text.place(row, i) if text is not None else (f"{path}, row {row + 1}, column {i + 1}", "")
            )
            value = series[row]
            what = f"{dimension} must be an integer, not {value!r}" if value else f"{dimension} has no value"
            more = f"; there are {len(rows)} such" if len(rows) > SHOWN and row == rows[0] else ""
            problems.append(Problem("PST-C061", what + more, place, "", excerpt))
        typed.append(values)
    return pl.DataFrame(typed), problems


def _fits(dtype: pl.DataType, kind: str) -> bool:
    if kind == "int":
        return dtype.is_integer()
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def _digest(frame: pl.DataFrame) -> str:
    """Give a digest of sorted data IDs, a line each."""
    digest = sha256(canonical_json(list(frame.columns)).encode())
    line = pl.struct(pl.all()).struct.json_encode()
    for part in frame.iter_slices(_CHUNK):
        digest.update(("\n" + "\n".join(part.select(line).to_series())).encode())
    return digest.hexdigest()
