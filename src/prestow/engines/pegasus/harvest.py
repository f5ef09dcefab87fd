"""What Pegasus's jobs left of themselves: states for people, and reports of attempts for the store.

A job that fails says on its standard output why, and Pegasus brings that home. What was killed, held, evicted or
never begun says nothing; then a report is written here, with what HTCondor and Pegasus say of it. Reports are
information: no receipt depends on one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.commit import ATTEMPTS, report_name
from prestow.engines.pegasus import jobstates
from prestow.engines.pegasus.jobstates import DONE, FAILED, UNREADY, Standing
from prestow.engines.pegasus.submissions import DIRECTORY, Record
from prestow.engines.pegasus.workflow import job_ids
from prestow.manifest import REPORT_SCHEMA
from prestow.model import DataId
from prestow.naming import identity
from prestow.node.outcome import put_report
from prestow.node.reporting import reports_in
from prestow.plan.settled import read_settled
from prestow.plan.slices import rows_at
from prestow.stores import Linkable, Store, Walkable

if TYPE_CHECKING:
    from prestow.plan import Plan

TAIL = 20
"""Lines of a log that are kept."""

_SLACK = 60.0
"""Seconds that the clocks of a node and of this host may be apart."""

Values = dict[str, Any]  # Any: JSON values


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the jobs of one submission do, or came to.

    Parameters
    ----------
    number : int
        Which submission of the plan.
    standing : Standing
        Of the whole workflow; of workflows in it, the outermost.
    jobs : DataFrame
        A row for each job of the plan that was handed over: ``job name state tries host exit_code begin end
        reason node directory``.
    others : mapping of state to int
        Jobs that Pegasus added: stage-in, stage-out, clean-up; those that are not done.
    """

    number: int
    standing: Standing
    jobs: pl.DataFrame
    others: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Jobs of the plan by state, every state."""
        found = dict(self.jobs["state"].value_counts(name="n").iter_rows())
        return {word: int(found.get(word, 0)) for word in jobstates.WORDS}

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {state}" for state, count in self.counts.items() if count)
        others = ", ".join(f"{count:,} {state}" for state, count in self.others.items() if state != UNREADY)
        over = "ended" if self.standing.over else "under way" if self.standing.began else "not begun yet"
        return f"submission {self.number} {over}: {counts}" + (
            f"; of Pegasus's own: {others}" if others else ""
        )

    def as_dict(self) -> Values:
        """Give it as plain values, with the jobs that stand out."""
        odd = self.jobs.filter(pl.col("state").is_in([jobstates.HELD, jobstates.PREEMPTED]))
        return {
            "submission": self.number, "over": self.standing.over, "began": self.standing.began, "ended": self.standing.ended,
            "status": self.standing.status, "jobs": self.counts, "others": dict(self.others),
            "waiting": odd.select("name", "state", "reason", "host", "tries").to_dicts(),
        }  # fmt: skip


def look(plan: Plan, record: Record) -> Look | None:
    """Say what the jobs of a submission do; None if it has no submit directory, or that is gone."""
    assert plan.directory is not None
    submit = record.submit_directory(plan.directory)
    if submit is None or not submit.is_dir():
        return None
    frames = [jobstates.read_jobs(path) for path in jobstates.workflow_directories(submit)]
    nodes = pl.concat(frames)
    names = plan.tables["jobs"].select("name").with_row_index("job")
    ids = names.with_columns(task=job_ids(names["name"]))
    mine = nodes.filter(pl.col("task").is_not_null()).join(ids, on="task", how="inner", maintain_order="left")
    columns = (
        "job",
        "name",
        "state",
        "tries",
        "host",
        "exit_code",
        "begin",
        "end",
        "reason",
        "node",
        "directory",
    )
    added = nodes.filter(pl.col("task").is_null() & (pl.col("state") != DONE))
    others = dict(added["state"].value_counts(name="n").sort("state").iter_rows())
    return Look(record.number, jobstates.standing(submit), mine.select(columns).sort("job"), others)


# ---------------------------------------------------------------- reports


def harvest(plan: Plan, record: Record, store: Store, *, found: Look | None = None) -> int:
    """Put reports of attempts into the store that are not there yet; give how many.

    Whatever it cannot read, or write, is information less and no error. It is the same however often it is done.

    Parameters
    ----------
    found : Look, optional
        What `look` gave.
    """
    found = found or look(plan, record)
    if found is None or plan.directory is None:
        return 0
    own = plan.directory / DIRECTORY / f".{record.number}.harvested"
    known = _read(own)
    after = dict(known)
    count = 0
    for directory, jobs in found.jobs.partition_by("directory", as_dict=True).items():
        path = Path(str(directory[0]))
        tries = jobstates.read_tries(path).filter("closed")
        seen = float(known.get(path.name, 0.0))
        fresh = tries.filter(pl.col("end") > seen - _SLACK)
        if record.products == "store":  # there jobs that go well write their reports themselves
            fresh = fresh.filter(pl.col("state") == FAILED)
        if tries.height:
            after[path.name] = tries["end"].max()
        if fresh.height:
            count += _Directory(plan, record, store, path, jobs, tries).take(fresh)
    if after != known:
        with suppress(OSError):
            own.write_text(json.dumps(after), encoding="utf-8")
    return count


def _read(path: Path) -> Values:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


class _Directory:
    """Takes the reports out of one submit directory."""

    def __init__(
        self, plan: Plan, record: Record, store: Store, path: Path, jobs: pl.DataFrame, tries: pl.DataFrame
    ) -> None:
        self.plan, self.record, self.store, self.path = plan, record, store, path
        self.rows = {
            str(key[0]): part.select("job", "name", "host").rows()
            for key, part in jobs.partition_by("node", as_dict=True).items()
        }
        self.counts = dict(tries["node"].value_counts(name="n").iter_rows())
        self.begins = {
            str(key[0]): part["submitted"].to_list()
            for key, part in tries.filter(pl.col("node").is_in(list(self.rows)))
            .partition_by("node", as_dict=True)
            .items()
        }
        self._reasons: dict[str, str] | None = None
        self._places: dict[str, Path] = {}

    def take(self, tries: pl.DataFrame) -> int:
        """Take what these tries left: one at a time, each has files of its own."""
        count = 0
        for row in tries.iter_rows(named=True):
            if row["node"] not in self.rows:
                continue
            out, err = (self._text(row, kind) for kind in ("out", "err"))
            told = set()
            for report in reports_in(out):
                if report.get("plan") != self.plan.id:
                    continue
                told.add(report.get("job"))
                count += self._put(str(report.get("job")), str(report.get("attempt")), report)
            if row["state"] == FAILED:
                for job, name, host in self.rows[row["node"]]:
                    if name not in told and not self._wrote_itself(name, row):
                        count += self._write(job, name, host, row, out, err)
        return count

    def _put(self, job: str, attempt: str, report: Mapping[str, Any]) -> int:  # Any: JSON values
        name = report_name(job, attempt)
        if self.store.size(name) is not None:
            return 0
        put_report(self.store, name, report)
        return 1

    def _text(self, row: Mapping[str, Any], kind: str) -> str:  # Any: values of a row
        """Give what one try wrote: its file has a number if all tries left one, else its time must tell."""
        place = self._place(row["node"])
        files = sorted(place.glob(f"{row['node']}.{kind}.[0-9][0-9][0-9]"))
        if not files:
            files = [path for path in (place / f"{row['node']}.{kind}",) if path.is_file()]
        number = row["try"] - 1
        if len(files) != self.counts[row["node"]] or number >= len(files):
            begins = [*self.begins[row["node"]], float("inf")]
            late = begins[number + 1] or float("inf")
            files = [f for f in files if (row["submitted"] or 0) - 1 <= f.stat().st_mtime < late]
            number = -1
        try:
            return files[number].read_text(encoding="utf-8", errors="replace") if files else ""
        except OSError:
            return ""

    def _place(self, node: str) -> Path:
        """Give the directory in which the files of a job are: Pegasus spreads them over some."""
        if not self._places:
            self._places = {p.stem: p.parent for p in self.path.glob("*/*/*.sub")}
        return self._places.get(node, self.path)

    def _wrote_itself(self, job: str, row: Mapping[str, Any]) -> bool:  # Any: values of a row
        """Say whether a report of this try came to the store by itself; one that is of the same time is."""
        if not isinstance(self.store, Walkable) or not isinstance(self.store, Linkable):
            return False
        begin, end = (row["begin"] or row["submitted"] or 0.0) - 1, (row["end"] or 0.0) + 1
        for name, _ in self.store.walk(f"{ATTEMPTS}/{job}"):
            try:
                written = self.store.local_path(name).stat().st_mtime
                report = json.loads(self.store.read(name))
            except (OSError, ValueError):
                continue
            if begin <= written <= end and "pegasus" not in report:
                return True
        return False

    def _write(self, job: int, name: str, host: str | None, row: Values, out: str, err: str) -> int:
        """Write a report for a try of which there is none."""
        attempt = attempt_of(
            f"{self.plan.id}/{self.record.number}/{self.path.name}/{row['node']}/{row['seq']}/{name}"
        )
        if self.store.size(report_name(name, attempt)) is not None:
            return 0
        entry = self._first_open(job)
        if entry is None:
            return 0
        if self._reasons is None:
            self._reasons = jobstates.read_reasons(self.path)
        code, message, tail = cause_of(row, self._reasons.get(row["condor"] or "", ""), out, err)
        seconds = max((row["end"] or 0.0) - (row["begin"] or row["end"] or 0.0), 0.0)
        failure = {**entry, "code": code, "message": message, "log_tail": tail, "seconds": seconds}
        report = {
            "schema": REPORT_SCHEMA, "job": name, "plan": self.plan.id, "run": self.plan.run, "attempt": attempt, "sealer": "engine",
            "host": _host_of(out) or host or "", "seconds": seconds,
            "quanta": [{**entry, "state": "failed", "failures": [failure]}], "findings": [message],
            "pegasus": {"submission": self.record.number, "node": row["node"], "try": row["try"], "exit_code": row["exit_code"]},
        }  # fmt: skip
        return self._put(name, attempt, report)

    def _first_open(self, job: int) -> Values | None:
        """Give the first quantum of a job that is not settled: what stands after it did not get that far."""
        first, count = rows_at(self.plan.tables, "jobs", np.array([job], np.int64), ("first", "count")).row(0)
        rows = list(range(first, first + count))
        settled = read_settled(self.plan, self.store, rows=rows).states
        row = next((row for row in rows if row not in settled), None)
        if row is None:
            return None
        facts = rows_at(self.plan.tables, "quanta", np.array([row], np.int64), ("task", "data_id", "id"))
        task, data_id, quantum = facts.select("task", "data_id", identity.uuid_text(pl.col("id"))).row(0)
        return {"quantum": quantum, "task": task, "data_id": dict(DataId.from_json(data_id))}


def attempt_of(text: str) -> str:
    """Give the id of an attempt that had none: the same for the same try.

    Examples
    --------
    >>> attempt_of("plan/1/run/node_isr/3/isr")
    'fe8a04c5-691f-0afb-97d2-4905255f3eb5'
    """
    raw = hashlib.sha256(text.encode()).hexdigest()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:32]}"


# ---------------------------------------------------------------- why

_WRONG = re.compile(
    r"(\S+): Expected checksum \(([0-9a-f]+)\) does not match the calculated checksum \(([0-9a-f]+)\)"
)
_SIGNALLED = re.compile(r"^\s+(?:signalled|terminating_signal|signal):\s*([0-9]+)", re.MULTILINE)
_HOST = re.compile(r"^\s+(?:uname_nodename|hostname):\s*(\S+)", re.MULTILINE)
_SAYS = re.compile(
    r"^(?!.*\b(?:warning|WARNING)\b).*(?:\b(?:ERROR|CRITICAL|FATAL)\b|No such file|not found|cannot|Permission denied|No space left|"
    r"Traceback|Not downloading a worker package)"
)
_QUIET = re.compile(r"^\s*$|^[0-9-]+ [0-9:,]+\s+INFO:|^#+.*#+$")
_SIGNALS = range(129, 160)


def cause_of(
    row: Mapping[str, Any], reason: str, out: str, err: str
) -> tuple[str, str, list[str]]:  # Any: a row
    r"""Say why a try failed that left no report: code, message, and the end of its log.

    Parameters
    ----------
    row : mapping
        By `prestow.engines.pegasus.jobstates.TRIES`.
    reason : str
        What HTCondor says.
    out, err : str
        What came home of the job.

    Examples
    --------
    >>> row = {"exit_code": 71, "held": False, "aborted": False, "evicted": 0}
    >>> err = "ERROR: raw/a.fits: Expected checksum (ab) does not match the calculated checksum (cd) (timing: 0.1)"
    >>> cause_of(row, "", "", err)[:2]
    ('PST-E074', 'raw/a.fits: its sha256 is cd, expected ab; the task was not started')
    >>> cause_of({**row, "exit_code": 137}, "", "", "")[0], cause_of({**row, "exit_code": 127}, "", "", "")[:2]
    ('PST-E073', ('PST-E077', 'it ended with 127'))
    >>> err = "bash: warning: setlocale: cannot change locale\n2026-01-01 00:00:00: Not downloading a worker package"
    >>> cause_of({**row, "exit_code": 1}, "", "", err)[1]
    'it ended with 1: Not downloading a worker package'
    """
    own = _said(out)
    tail = own or _tail(err)
    wrong = _WRONG.search(err) or _WRONG.search(out)
    if wrong is not None:
        return (
            "PST-E074",
            f"{wrong[1]}: its sha256 is {wrong[3]}, expected {wrong[2]}; the task was not started",
            tail,
        )
    if row["held"]:
        return "PST-E075", f"HTCondor held it: {reason or 'it does not say why'}", tail
    if row["aborted"]:
        return "PST-E073", f"it was removed from the queue: {reason or 'HTCondor does not say why'}", tail
    code = row["exit_code"]
    signal = _SIGNALLED.search(out)
    number = (
        int(signal[1]) if signal else code - 128 if code in _SIGNALS else -code if code and code < 0 else None
    )
    if number is not None or reason.startswith("killed by signal"):
        why = f"killed by signal {number}" if number is not None else reason
        return "PST-E073", f"{why}{', as where memory runs out' if number == _KILL else ''}", tail
    if row["evicted"] and code is None:
        return "PST-E073", f"it was put off its machine: {reason or 'HTCondor does not say why'}", tail
    said = own[-1] if own else next((line for line in reversed(tail) if _SAYS.search(line)), "")
    words = f"it ended with {code}" if code is not None else reason or "nothing tells how it ended"
    return "PST-E077", f"{words}: {_plain(said)}" if said else words, tail


_KILL = 9

_ERRORS = re.compile(r"^ {4}stderr:\n(?: {6}.*\n)*? {6}data: \|\n((?: {8}.*\n)*)", re.MULTILINE)


def _said(out: str) -> list[str]:
    r"""Give the end of what the program itself wrote as errors, of what Pegasus's own wrapper brought home.

    Examples
    --------
    >>> _said("    stderr:\n      size: 9\n      data: |\n        no module\n        \n    metadata:\n")
    ['no module']
    """
    return _tail("\n".join(line[8:] for block in _ERRORS.findall(out) for line in block.splitlines()))


def _plain(line: str) -> str:
    return re.sub(r"^[0-9-]+ [0-9:,]+:?\s*(?:ERROR|CRITICAL|FATAL)?:?\s*", "", line).strip()


def _tail(text: str) -> list[str]:
    """Give the last lines that say something."""
    return [line.rstrip()[:500] for line in text.splitlines() if not _QUIET.search(line)][-TAIL:]


def _host_of(out: str) -> str:
    match = _HOST.search(out)
    return match[1].strip('"') if match else ""
