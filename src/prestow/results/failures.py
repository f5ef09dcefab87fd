"""Failures grouped by cause and by host: what went wrong, how often, where first, and on which machines.

**A cause** is an exception with its message, without numbers, paths, quoted names and values of data IDs
(`prestow.results.messages`); the same in two tasks is one.

**A host** is a cause of its own where it fails far more than its share, with many messages. For each host:

- *Expected* are the failures it would have if it failed like the other hosts, task by task: tries of the
  task there, times the share of tries of the task that fail elsewhere (``(f + ½) / (n + 1)``). A task that
  no other host ran says nothing about the host, and is left out.
- It is a cause if its failures, the two commonest messages left out, are at least `LEAST`, at least
  `TIMES` what is expected, and so many by chance less often than once in `CHANCE` (the Chernoff bound of
  a Poisson tail, for as many hosts as there are).
- The host that is furthest above is taken out, and the others are looked at again, until none is.

One message that only one host gives stays what it is, a cause; its group names the one host. All failures
of a host that is a cause count there and nowhere else, so counts always sum to the failures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from prestow.results.messages import exception_of, normal, place_of

LEAST, TIMES, CHANCE = 10, 2.0, 1e6

FIRST = 5
"""Data IDs that a group shows."""

MANY_HOSTS = 3
"""Messages of a host that are not looked at when it is judged are one less than these."""

SCHEMA = pl.Schema({
    "quantum": pl.String(), "job": pl.String(), "attempt": pl.String(), "task": pl.String(), "data_id": pl.String(),
    "host": pl.String(), "state": pl.String(), "code": pl.String(), "exception": pl.String(), "message": pl.String(),
    "log_tail": pl.String(), "seconds": pl.Float64(), "cpu_seconds": pl.Float64(), "peak_memory": pl.Int64(),
    "pid": pl.Int64(), "end": pl.Float64(),
})  # fmt: skip
"""Columns of tries: a row for each quantum of each attempt. A row with a ``code`` or ``message`` is a failure."""

Values = Mapping[str, Any]  # Any: JSON values


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one cause.

    Parameters
    ----------
    kind : str
        ``cause`` or ``host``.
    cause : str
        The exception with its message, normal; of a host, its name.
    exception : str
        Type of the exception, or the code of the error; of a host, of its commonest message.
    message : str
        The commonest message of a host; of a cause, the first one, as it was.
    count : int
        How many failures.
    hosts, tasks : mapping of str to int
        How many of them where, the most first.
    first : tuple of str
        The first data IDs.
    quanta, jobs : tuple of str
        All of them, each once, in the order of task and data ID.
    messages : int
        How many normal messages there are: 1 for a cause.
    log_tail : tuple of str
        The end of the log of the first failure that has one.
    tried : int
        Of a host: how often something was tried there; 0 for a cause.
    """

    kind: str
    cause: str
    exception: str
    message: str
    count: int
    hosts: Mapping[str, int]
    tasks: Mapping[str, int]
    first: tuple[str, ...]
    quanta: tuple[str, ...]
    jobs: tuple[str, ...]
    messages: int = 1
    log_tail: tuple[str, ...] = ()
    tried: int = 0

    @property
    def title(self) -> str:
        """The cause in one line, for people."""
        if self.kind == "cause":
            return self.cause
        return f"host {self.cause}: {self.count:,} of {self.tried:,} tries failed, {self.messages:,} messages"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values; of its quanta and jobs the numbers."""
        return {
            "kind": self.kind, "cause": self.cause, "exception": self.exception, "message": self.message, "count": self.count,
            "quanta": len(self.quanta), "jobs": len(self.jobs), "messages": self.messages, "tried": self.tried,
            "hosts": dict(self.hosts), "tasks": dict(self.tasks), "first": list(self.first), "log_tail": list(self.log_tail),
        }  # fmt: skip


def tries_of(reports: Iterable[Values]) -> pl.DataFrame:
    """Give the tries of quanta that attempt reports tell, by `SCHEMA`.

    A quantum that failed more than once in one attempt is one try, with its last failure; one that only
    waited is none.
    """
    rows: dict[str, list[Any]] = {name: [] for name in SCHEMA}  # Any: by column
    add = [rows[name].append for name in SCHEMA]
    for report in reports:
        job, attempt = str(report.get("job", "")), str(report.get("attempt", ""))
        host = str(report.get("host") or "")
        for entry in report.get("quanta") or ():
            failures = entry.get("failures") or ()
            if entry.get("state") == "pending" and not failures:
                continue
            failure: Values = failures[-1] if failures else {}
            values = (
                str(entry.get("quantum", "")), job, attempt, str(entry.get("task") or failure.get("task") or ""),
                _in_words(entry.get("data_id") or {}), host, str(entry.get("state", "")),
                failure.get("code") or "", failure.get("exception") or "", failure.get("message") or "",
                "\n".join(map(str, failure.get("log_tail") or ())),
                entry.get("seconds"), entry.get("cpu_seconds"), report.get("peak_memory"), report.get("pid"), report.get("end"),
            )  # fmt: skip
            for append, value in zip(add, values, strict=True):
                append(value)
    return pl.DataFrame(rows, schema=SCHEMA, strict=False)


def _in_words(data_id: Values) -> str:
    return ",".join(f"{name}={data_id[name]}" for name in sorted(data_id))


def grouped(tries: pl.DataFrame | Iterable[Values]) -> tuple[FailureGroup, ...]:
    """Group failures by cause and host, the most first; see the module for what a cause is.

    Parameters
    ----------
    tries : DataFrame, or records
        Rows by `SCHEMA` (columns that are missing are empty), or attempt reports as the node writes them.
        Without tries that went well no host is told from the others.

    Returns
    -------
    tuple of FailureGroup
        Each failure is in exactly one; in whatever order the rows came, the groups are the same.

    Examples
    --------
    >>> rows = [{"task": "sky", "host": "a", "code": "PST-N007", "message": f"ValueError: rms {n}"} for n in range(3)]
    >>> [(group.cause, group.count) for group in grouped(rows)]
    [('ValueError: rms <n>', 3)]
    """
    frame = _frame(tries)
    failures = _named(frame.filter((pl.col("code") != "") | (pl.col("message") != "")))
    if not failures.height:
        return ()
    hosts = bad_hosts(frame, failures)
    on_host = pl.col("host").is_in(hosts)
    found = [_group("cause", key, part) for key, part in _parts(failures.filter(~on_host), "cause")]
    tried = dict(frame["host"].value_counts().iter_rows())
    found += [_group("host", key, part, tried[key]) for key, part in _parts(failures.filter(on_host), "host")]
    return tuple(sorted(found, key=lambda group: (-group.count, group.kind, group.cause)))


def _frame(tries: pl.DataFrame | Iterable[Values]) -> pl.DataFrame:
    """Give tries by `SCHEMA`, in one order whatever order they came in."""
    if not isinstance(tries, pl.DataFrame):
        records = list(tries)
        if any("quanta" in record for record in records):
            tries = tries_of(records)
        else:
            tries = pl.DataFrame(
                {name: [_plain(record.get(name)) for record in records] for name in SCHEMA},
                schema=SCHEMA, strict=False,
            )  # fmt: skip
    columns = [
        (pl.col(name).cast(kind) if name in tries.columns else pl.lit(None, kind)).alias(name)
        for name, kind in SCHEMA.items()
    ]
    texts = [name for name, kind in SCHEMA.items() if kind == pl.String]
    return tries.select(columns).with_columns(pl.col(texts).fill_null(""))


def _plain(value: object) -> object:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else value


def _named(failures: pl.DataFrame) -> pl.DataFrame:
    """Give failures with their exception and cause, in the order in which they are shown."""
    values = failures.select(
        pl.col("data_id").str.extract_all(r"=[^,]*[^,0-9\s][^,]*").list.explode().drop_nulls().unique()
    )["data_id"]
    words = [value[1:].strip('"') for value in values]
    message = pl.col("message")
    told = pl.col("exception")
    own = exception_of(pl.col("code"), message)
    exception = pl.when(told != "").then(told).otherwise(own)
    text = normal(message, words)
    named = failures.with_columns(exception=exception, normal=text, place=place_of(message).fill_null(""))
    # a message that says nothing but its type is told by the file in which it was raised
    bare = pl.col("normal") == pl.col("exception")
    begins = pl.col("normal").str.starts_with(pl.col("exception"))
    cause = (
        pl.when(bare & (pl.col("place") != ""))
        .then(pl.concat_str("exception", pl.lit(" in "), "place"))
        .when(begins)
        .then(pl.col("normal"))
        .otherwise(pl.concat_str("exception", pl.lit(": "), "normal"))
    )
    return named.with_columns(cause=cause).sort(
        "task", "data_id", "quantum", "job", "attempt", "host", "message"
    )


def bad_hosts(tries: pl.DataFrame, failures: pl.DataFrame) -> list[str]:
    """Give the hosts that are causes of their own, by the rule of this module, in their order.

    Parameters
    ----------
    tries, failures : DataFrame
        ``host`` and ``task`` of everything that was tried; of what failed, also ``cause``.
    """
    names = [name for name in tries["host"].unique().sort().to_list() if name]
    tasks = tries["task"].unique().sort().to_list()
    if len(names) < 2:  # noqa: PLR2004 - nothing to compare with
        return []
    n, f = _table(tries, names, tasks), _table(failures, names, tasks)
    rest = _without_commonest(failures, names, tasks)
    open_, found = np.ones(len(names), bool), []
    while open_.sum() > 1:
        elsewhere_n = n[open_].sum(axis=0) - n
        elsewhere_f = f[open_].sum(axis=0) - f
        known = elsewhere_n > 0
        share = np.where(known, (elsewhere_f + 0.5) / (elsewhere_n + 1), 0)
        expected = (n * share * known).sum(axis=1)
        seen = (rest * known).sum(axis=1)
        above = np.array([_above(s, e, len(names)) for s, e in zip(seen, expected, strict=True)])
        above[~open_] = 0
        worst = int(np.argmax(above))  # of equal ones the first by name
        if above[worst] <= 0:
            break
        found.append(names[worst])
        open_[worst] = False
    return sorted(found)


def _above(seen: float, expected: float, hosts: int) -> float:
    """Give how far beyond chance a number of failures is, in nats; nothing if it is not, or not far above."""
    if seen < LEAST or expected <= 0 or seen < TIMES * expected:
        return 0.0
    return max(seen * math.log(seen / expected) - seen + expected - math.log(CHANCE * hosts), 0.0)


def _table(rows: pl.DataFrame, names: list[str], tasks: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Count rows by host and task."""
    counts = rows.group_by("host", "task").len().filter(pl.col("host") != "")
    table = np.zeros((len(names), len(tasks)))
    at, of = ({key: i for i, key in enumerate(keys)} for keys in (names, tasks))
    for host, task, count in counts.iter_rows():
        table[at[host], of[task]] = count
    return table


def _without_commonest(
    failures: pl.DataFrame, names: list[str], tasks: list[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Count failures by host and task, but for those of the commonest causes of each host."""
    ranked = (
        failures.group_by("host", "cause").len().sort("host", "len", "cause", descending=[False, True, False])
    )
    common = ranked.group_by("host", maintain_order=True).head(MANY_HOSTS - 1)
    return _table(failures.join(common, on=["host", "cause"], how="anti"), names, tasks)


def _parts(failures: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    parts = failures.partition_by(column, maintain_order=True, as_dict=True)
    return [(str(key[0]), part) for key, part in parts.items()]


def _group(kind: str, key: str, part: pl.DataFrame, tried: int = 0) -> FailureGroup:
    """Make the group of some failures, which are in order."""
    causes = _counted(part["cause"])
    head = part if kind == "cause" else part.filter(pl.col("cause") == next(iter(causes)))
    tails = head["log_tail"].filter(head["log_tail"] != "")
    return FailureGroup(
        kind=kind, cause=key, exception=head["exception"][0], message=head["message"][0], count=part.height,
        hosts={name: n for name, n in _counted(part["host"]).items() if name}, tasks=_counted(part["task"]),
        first=tuple(part["data_id"].head(100).unique(maintain_order=True).head(FIRST)),
        quanta=tuple(part["quantum"].unique(maintain_order=True)), jobs=tuple(part["job"].unique(maintain_order=True)),
        messages=len(causes), log_tail=tuple(tails[0].split("\n")) if tails.len() else (), tried=tried,
    )  # fmt: skip


def _counted(column: pl.Series) -> dict[str, int]:
    """Count values, the most first, of equal ones the first by name."""
    counts = column.value_counts(name="n").sort("n", column.name, descending=[True, False])
    return dict(counts.iter_rows())
