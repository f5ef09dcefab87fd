"""Names of jobs: made in chunks whenever they are asked for, never kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import polars as pl

from prestow.naming import identity
from prestow.plan.state import ROW, Grouping, JobLabel, State

LONGEST_NAME = 100
DIGITS = (8, 32)  # of a quantum's id, in the name of a job that its values cannot name
CHUNK = 200_000

_GOOD = r"^[A-Za-z0-9._+-]*$"
_SIMPLE = re.compile(r"[A-Za-z0-9._]*")
_WIDEST = {pl.Int64: 20, pl.Boolean: 5}


def job_names(state: State, grouping: Grouping, start: int, stop: int) -> pl.Series:
    """Give the names of jobs ``start`` to ``stop``: their label and values, ``isr-3-41``.

    A name that is too long, has characters that a file's name should not have, or that another job
    has, too (but for case), ends in the first digits of the id of the job's first quantum.

    Parameters
    ----------
    start, stop : int
        Numbers of jobs; ``stop`` is not among them.

    Returns
    -------
    Series
        Texts, unique over the plan; the same for each division into ranges.
    """
    titles = _titles(state, grouping, start, stop)
    lost = grouping.renamed
    if not lost.len():
        return titles
    here = lost.filter(lost.is_between(start, stop, closed="left"))
    if not here.len():
        return titles
    better = _renamed(state, grouping, here, titles.gather(here - start), grouping.digits)
    return titles.scatter((here - start).cast(pl.UInt32), better)


def with_unique_names(state: State, grouping: Grouping) -> Grouping:
    """Decide, once over the plan, which jobs their values cannot name, and how many digits they need."""
    doubtful = _doubtful(state, grouping)
    if not doubtful:
        return grouping
    lost = _lost(state, grouping, doubtful)
    if not lost.len():
        return grouping
    for digits in DIGITS:
        made = replace(grouping, renamed=lost, digits=digits)
        if digits == DIGITS[-1] or not _twins(state, made, range(len(grouping.labels))).len():
            return made
    raise AssertionError("the last number of digits is taken")


# ---------------------------------------------------------------------------- titles


def _titles(state: State, grouping: Grouping, start: int, stop: int) -> pl.Series:
    jobs = grouping.jobs.slice(start, stop - start).select("label", "ordinal")
    runs = jobs["label"].rle().struct.unnest()
    parts = [pl.Series("name", [], pl.String)]
    position = 0
    for length, number in runs.iter_rows():
        ordinals = jobs["ordinal"].slice(position, length)
        position += length
        parts.append(_title(state, grouping.labels[number], ordinals))
    return pl.concat(parts)


def _title(state: State, label: JobLabel, ordinals: pl.Series) -> pl.Series:
    named = [d for d in label.dimensions if d != "instrument"]
    frame = _values(state, label).select(*named, *([] if label.groups is None else ["more"]))
    first, last = (ordinals[0], ordinals[-1]) if ordinals.len() else (0, -1)
    straight = last - first + 1 == ordinals.len() and ordinals.is_sorted()
    rows = frame.slice(first, ordinals.len()) if straight else frame[ordinals]
    pieces = [pl.lit(label.name)]
    for dimension in named:
        pieces += [pl.lit("-"), pl.col(dimension).cast(pl.String).fill_null("none")]
    if label.groups is not None:
        added = pl.concat_str([pl.lit("+"), pl.col("more").cast(pl.String)])
        pieces.append(pl.when(pl.col("more") > 0).then(added).otherwise(pl.lit("")))
    # Not of constants alone, which would give one row, also for no job or for two.
    whole = rows if rows.width else pl.DataFrame({"ordinal": ordinals})
    return whole.with_columns(pl.concat_str(pieces).alias("name"))["name"]


def _values(state: State, label: JobLabel) -> pl.DataFrame:
    return state.parts[label.tasks[0]].quanta if label.groups is None else label.groups


def _renamed(state: State, grouping: Grouping, jobs: pl.Series, titles: pl.Series, digits: int) -> pl.Series:
    stem = titles.str.replace_all(r"[^A-Za-z0-9._+-]", "_").str.slice(0, LONGEST_NAME - digits - 1)
    ids = _first_ids(state, grouping, jobs).bin.encode("hex").str.slice(0, digits)
    return stem + "-" + ids


def _first_ids(state: State, grouping: Grouping, jobs: pl.Series) -> pl.Series:
    """Give the id of the first quantum of each of these jobs."""
    firsts = grouping.quanta[grouping.jobs["first"].gather(jobs)].with_row_index("place")
    parts = [pl.DataFrame(schema={"place": pl.UInt32, "id": pl.Binary})]
    tasks = state.request.pipeline.tasks
    for (number,), part in firsts.partition_by("task", as_dict=True).items():
        task = tasks[number]
        quanta = state.parts[task.label].quanta
        rows = pl.DataFrame(
            {"place": part["place"], **{d: quanta[d].gather(part["row"]) for d in task.dimensions}}
        )
        ids = rows.with_columns(
            identity.quantum_ids(task.label, state.request.run, task.dimensions).alias("id")
        )
        parts.append(ids.select("place", "id"))
    return pl.concat(parts).sort("place")["id"]


# ---------------------------------------------------------------------------- uniqueness


def _doubtful(state: State, grouping: Grouping) -> list[int]:
    """Give the labels whose names must be looked at one by one.

    Others cannot clash: no other label begins like theirs, and their values are numbers, or words that
    have no ``-`` and differ but for case.
    """
    folded = [label.name.lower() for label in grouping.labels]
    twice = {name for name, count in Counter(folded).items() if count > 1}
    known = set(folded)
    near: set[int] = set()
    for name in folded:
        above = {name[: m.start()] for m in re.finditer("-", name)} & known
        if name in twice or above:
            near |= {i for i, other in enumerate(folded) if other == name or other in above}
    return [
        number
        for number, label in enumerate(grouping.labels)
        if number in near or not _surely_named(state, label)
    ]


def _surely_named(state: State, label: JobLabel) -> bool:
    if not re.fullmatch(_GOOD, label.name):
        return False
    frame = _values(state, label)
    if "instrument" in label.dimensions and frame["instrument"].n_unique() > 1:
        return False  # it stands in no name
    length = len(label.name) + 1 + 20  # and how many more share a job
    for dimension in label.dimensions:
        if dimension == "instrument":
            continue
        column = frame[dimension]
        length += 1
        if column.dtype in _WIDEST:
            length += _WIDEST[column.dtype]  # type: ignore[index]  # the class stands for its values
            continue
        words = _words(column)
        if words is None or not all(_SIMPLE.fullmatch(word) for word in words):
            return False
        if len({word.lower() for word in words} | {"none"}) <= len(words):
            return False
        length += max(map(len, words), default=0)
    return length <= LONGEST_NAME


def _words(column: pl.Series) -> list[str] | None:
    """Give the distinct words of a text column, or None if they are too many to be looked at."""
    if column.dtype == pl.String or isinstance(column.dtype, pl.Enum | pl.Categorical):
        distinct = column.drop_nulls().unique().cast(pl.String)
        return distinct.to_list() if distinct.len() <= CHUNK // 10 else None
    return None


def _lost(state: State, grouping: Grouping, labels: Iterable[int]) -> pl.Series:
    """Give the jobs of these labels whose titles are no names."""
    numbers = list(labels)
    bad = [pl.Series("job", [], ROW)]
    for start, names in _chunks(state, grouping, numbers):
        flags = ~names.str.contains(_GOOD) | (names.str.len_bytes() > LONGEST_NAME)
        bad.append((flags.arg_true() + start).cast(ROW).alias("job"))
    return pl.concat([*bad, _twins(state, grouping, numbers)]).unique().sort()


def _twins(state: State, grouping: Grouping, labels: Iterable[int]) -> pl.Series:
    """Give the jobs whose names others have, too, but for case; only hashes of names are kept."""
    chunks = list(_starts(grouping, list(labels)))
    hashes = pl.concat(
        pl.DataFrame({"hash": names.str.to_lowercase().hash()}).with_row_index("job", start)
        for start, names in ((a, job_names(state, grouping, a, b)) for a, b in chunks)
    )
    if hashes["hash"].n_unique() == hashes.height:
        return pl.Series("job", [], ROW)
    near = hashes.filter(pl.col("hash").is_duplicated())["job"]
    # Equal hashes are most often equal names; a closer look at these few tells.
    parts = []
    for start, stop in chunks:
        here = near.filter(near.is_between(start, stop, closed="left"))
        if here.len():
            parts.append(job_names(state, grouping, start, stop).gather(here - start))
    names = pl.concat(parts).str.to_lowercase()
    return near.filter(names.is_duplicated()).cast(ROW)


def _chunks(state: State, grouping: Grouping, labels: list[int]) -> Iterator[tuple[int, pl.Series]]:
    for start, stop in _starts(grouping, labels):
        yield start, job_names(state, grouping, start, stop)


def _starts(grouping: Grouping, labels: list[int]) -> Iterator[tuple[int, int]]:
    """Give ranges of jobs of these labels, none longer than a chunk."""
    wanted = set(labels)
    position = 0
    for length, number in grouping.jobs["label"].rle().struct.unnest().iter_rows():
        if number in wanted:
            for start in range(position, position + length, CHUNK):
                yield start, min(start + CHUNK, position + length)
        position += length
