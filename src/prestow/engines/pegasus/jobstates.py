"""What became of Pegasus's jobs, from what it and HTCondor leave in a submit directory; nothing is written.

Its log of states is plain text and grows while jobs run, so it is read first. What it does not say, its database
and HTCondor's own log say: which jobs run as one, where they ran, and why one was held, evicted or removed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

LOG = "jobstate.log"

QUEUED, RUNNING, HELD, PREEMPTED, DONE, FAILED, UNREADY = (
    "queued", "running", "held", "preempted", "done", "failed", "unready",
)  # fmt: skip
WORDS = (UNREADY, QUEUED, RUNNING, HELD, PREEMPTED, FAILED, DONE)
"""What is said of a job of Pegasus. A preempted one was put off its machine and waits for another."""

_EVENTS = {
    "PRE_SCRIPT_STARTED": QUEUED, "PRE_SCRIPT_TERMINATED": QUEUED, "PRE_SCRIPT_SUCCESS": QUEUED, "PRE_SCRIPT_FAILURE": FAILED,
    "SUBMIT": QUEUED, "SUBMIT_FAILED": FAILED, "EXECUTE": RUNNING, "JOB_UNSUSPENDED": RUNNING, "JOB_SUSPENDED": PREEMPTED,
    "JOB_EVICTED": PREEMPTED, "SHADOW_EXCEPTION": PREEMPTED, "JOB_DISCONNECTED": RUNNING, "JOB_RECONNECTED": RUNNING,
    "JOB_RECONNECT_FAILED": PREEMPTED, "JOB_HELD": HELD, "JOB_HELD_REASON": HELD, "JOB_RELEASED": QUEUED,
    "JOB_TERMINATED": RUNNING, "JOB_SUCCESS": RUNNING, "JOB_FAILURE": FAILED, "JOB_ABORTED": FAILED,
    "POST_SCRIPT_STARTED": RUNNING, "POST_SCRIPT_TERMINATED": RUNNING, "POST_SCRIPT_SUCCESS": DONE, "POST_SCRIPT_FAILURE": FAILED,
}  # fmt: skip
"""Events that change what a job does, and what it does then."""

_LIVE = (QUEUED, RUNNING, HELD, PREEMPTED)

SCHEMA = {
    "directory": pl.String, "node": pl.String, "kind": pl.String, "task": pl.String, "state": pl.String, "tries": pl.UInt32,
    "host": pl.String, "exit_code": pl.Int64, "begin": pl.Float64, "end": pl.Float64, "reason": pl.String,
}  # fmt: skip

TRIES = {
    "node": pl.String, "seq": pl.Int64, "try": pl.UInt32, "state": pl.String, "exit_code": pl.Int64, "condor": pl.String,
    "submitted": pl.Float64, "begin": pl.Float64, "end": pl.Float64, "held": pl.Boolean, "evicted": pl.UInt32,
    "aborted": pl.Boolean, "closed": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """What a whole workflow does, as its own log says.

    Parameters
    ----------
    began, ended : float or None
        Seconds since 1970; it runs, or was cut off, if only the first is known.
    status : int or None
        What DAGMan ended with; 0 is all well.
    cluster : str
        DAGMan's own job in HTCondor's queue, such as ``21``; empty if it never began.
    """

    began: float | None = None
    ended: float | None = None
    status: int | None = None
    cluster: str = ""

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self.ended is not None


def workflow_directories(submit: Path) -> list[Path]:
    """Give the submit directories of a workflow and of all workflows in it, its own first."""
    below = [path.parent for path in sorted(submit.rglob(LOG)) if path.parent != submit]
    return [submit, *below]


def read_events(directory: Path) -> pl.DataFrame:
    """Give the lines of a log of states in order: ``at job event what seq``; none if there is no log yet."""
    try:
        text = (directory / LOG).read_bytes().decode(errors="replace")
    except FileNotFoundError:
        text = ""
    whole = text[: text.rfind("\n") + 1]  # the last line may just be being written
    lines = pl.DataFrame({"line": whole.splitlines()}, schema={"line": pl.String})
    parts = lines.select(pl.col("line").str.split_exact(" ", 6).alias("f")).unnest("f")
    return parts.select(
        at=pl.col("field_0").cast(pl.Float64, strict=False),
        job="field_1",
        event="field_2",
        what="field_3",
        seq=pl.col("field_6").cast(pl.Int64, strict=False),
    ).filter(pl.col("at").is_not_null() & pl.col("event").is_not_null())


def standing(directory: Path) -> Standing:
    """Tell what a workflow does, by its log, and by DAGMan's own where nobody watched its end."""
    found = Standing()
    try:
        lines = (directory / LOG).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        if "INTERNAL *** DAGMAN_" not in line:
            continue
        at, word, value = float(line.split(" ", 1)[0]), *line.split("***")[1].split()[:2]
        if word == "DAGMAN_STARTED":
            found = Standing(at, cluster=value.partition(".")[0])
        elif word == "DAGMAN_FINISHED":
            status = int(value) if value.lstrip("-").isdecimal() else None
            found = Standing(found.began, at, status, found.cluster)
    return found if found.over else _by_dagman(directory, found)


_STARTING = re.compile(r"condor_scheduniv_exec\.([0-9]+)\.[0-9]+ .*STARTING UP")
_EXITING = re.compile(r"EXITING WITH STATUS (-?[0-9]+)")


def _by_dagman(directory: Path, found: Standing) -> Standing:
    """Look into DAGMan's own log, which has a line for its begin and its end, whoever watches."""
    path = next(iter(sorted(directory.glob("*.dag.dagman.out"))), None)
    if path is None:
        return found
    try:
        written = path.stat().st_mtime
        with path.open(errors="replace") as stream:
            for line in stream:
                if match := _STARTING.search(line):
                    found = Standing(found.began or written, cluster=match[1])
                elif match := _EXITING.search(line):
                    found = Standing(found.began or written, written, int(match[1]), found.cluster)
    except OSError:
        return found
    return found


def read_tries(directory: Path) -> pl.DataFrame:
    """Give each try of each job of one workflow by `TRIES`, in the order in which they were submitted."""
    events = read_events(directory).filter(
        (pl.col("job") != "INTERNAL") & pl.col("event").is_in(list(_EVENTS)) & pl.col("seq").is_not_null()
    )
    code = pl.col("what").cast(pl.Int64, strict=False)
    ended = pl.col("event").is_in(["JOB_SUCCESS", "JOB_FAILURE"])
    tries = events.group_by("job", "seq", maintain_order=True).agg(
        state=pl.col("event").replace_strict(_EVENTS, return_dtype=pl.String).last(),
        exit_code=code.filter(ended).last(),
        condor=pl.col("what").filter(pl.col("event") == "SUBMIT").first(),
        submitted=pl.col("at").filter(pl.col("event") == "SUBMIT").first(),
        begin=pl.col("at").filter(pl.col("event") == "EXECUTE").first(),
        end=pl.col("at").max(),
        held=(pl.col("event") == "JOB_HELD").any(),
        evicted=pl.col("event").is_in(["JOB_EVICTED", "SHADOW_EXCEPTION"]).sum(),
        aborted=(pl.col("event") == "JOB_ABORTED").any(),
        last=pl.col("event").last(),
        post=pl.col("event").str.starts_with("POST_SCRIPT").any(),
    )
    over = standing(directory).over
    # without a script after it nothing else says that a job ended well
    alone = (pl.col("last") == "JOB_SUCCESS") & ~pl.col("post")
    tries = tries.with_columns(
        pl.col("seq").rank("ordinal").over("job").alias("try"),
        state=pl.when(alone & pl.lit(over)).then(pl.lit(DONE)).otherwise("state"),
        closed=pl.col("last").is_in(["POST_SCRIPT_SUCCESS", "POST_SCRIPT_FAILURE"]) | pl.lit(over),
    )
    return tries.rename({"job": "node"}).select(pl.col(name).cast(kind) for name, kind in TRIES.items())


def read_jobs(directory: Path) -> pl.DataFrame:
    """Give the jobs of one workflow by `SCHEMA`: a row for each task of the abstract workflow, or job without one.

    ``task`` is the id of the job in the abstract workflow; null for what Pegasus added by itself.
    """
    tries = read_tries(directory)
    over = standing(directory)
    last = tries.group_by("node", maintain_order=True).agg(
        pl.col("state").last(), pl.col("exit_code").last(), pl.col("begin").last(), pl.col("end").last(),
        tries=pl.len(),
    )  # fmt: skip
    known = _known(directory)
    frame = known.join(last, on="node", how="full", coalesce=True, maintain_order="left_right")
    frame = frame.with_columns(
        pl.col("state").fill_null(UNREADY), pl.col("tries").fill_null(0), reason=pl.lit("")
    )
    if over.over:
        gone = pl.col("state").is_in(list(_LIVE))
        said = pl.concat_str(pl.lit("the workflow ended while it was "), pl.col("state"))
        frame = frame.with_columns(
            reason=pl.when(gone).then(said).otherwise("reason"),
            state=pl.when(gone).then(pl.lit(FAILED)).otherwise("state"),
        )
    if frame["state"].is_in([HELD, PREEMPTED, FAILED]).any():
        condor = tries.group_by("node", maintain_order=True).agg(pl.col("condor").last())
        reasons = read_reasons(directory)
        told = condor.with_columns(
            why=pl.col("condor").replace_strict(reasons, default="", return_dtype=pl.String)
        )
        frame = frame.join(told.select("node", "why"), on="node", how="left", maintain_order="left")
        wanted = pl.col("state").is_in([HELD, PREEMPTED, FAILED]) & (pl.col("why").fill_null("") != "")
        frame = frame.with_columns(reason=pl.when(wanted).then("why").otherwise("reason"))
    frame = frame.with_columns(directory=pl.lit(str(directory)))
    return frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _known(directory: Path) -> pl.DataFrame:
    """Give every job of a workflow with the tasks that run in it: by the database, else by the workflow for DAGMan."""
    schema = {"node": pl.String, "kind": pl.String, "task": pl.String, "host": pl.String}
    rows = _from_database(directory)
    if rows is None:
        rows = [(name, "", _task_of(name), None) for name in _from_dag(directory)]
    return pl.DataFrame(rows, schema=schema, orient="row")


_QUERY = """
SELECT j.exec_job_id, j.type_desc, t.abs_task_id,
  (SELECT CASE h.hostname WHEN 'unknown' THEN h.ip ELSE h.hostname END FROM job_instance i JOIN host h USING (host_id)
   WHERE i.job_id = j.job_id ORDER BY i.job_submit_seq DESC LIMIT 1)
FROM job j JOIN workflow w USING (wf_id) LEFT JOIN task t ON t.job_id = j.job_id
WHERE w.dag_file_name = ? ORDER BY j.job_id, t.task_id
"""


def _from_database(directory: Path) -> list[tuple[str, str, str | None, str | None]] | None:
    """Ask the database of a run; None if there is none, or none that can be read now."""
    dag = next(iter(sorted(directory.glob("*.dag"))), None)
    return None if dag is None else ask(directory, _QUERY, dag.name) or None


def ask(directory: Path, query: str, *values: str) -> list[Any] | None:  # Any: the rows of SQL
    """Ask the database of the run that a submit directory belongs to; None if there is none to be read now."""
    tops = [directory, *directory.parents][:_DEEPEST]  # that of the outermost workflow has all of them
    found = next((paths for top in tops if (paths := sorted(top.glob("*.stampede.db")))), None)
    if found is None:
        return None
    try:
        with closing(
            sqlite3.connect(f"{found[0].absolute().as_uri()}?mode=ro", uri=True, timeout=2)
        ) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:  # locked by who writes it, or no such table yet
        return None


_DEEPEST = 12


def _from_dag(directory: Path) -> Iterator[str]:
    for path in sorted(directory.glob("*.dag")):
        with path.open(errors="replace") as stream:
            for line in stream:
                words = line.split(None, 2)
                if len(words) > 1 and words[0] in ("JOB", "SUBDAG"):
                    yield words[2].split()[0] if words[0] == "SUBDAG" else words[1]


PREFIX = "node_"
"""What Pegasus puts before the id of a job in the abstract workflow: the name of its transformation."""


def _task_of(name: str) -> str | None:
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


_HEAD = re.compile(r"^([0-9]{3}) \(0*([0-9]+)\.0*([0-9]+)\.[0-9]+\)")
_TOLD = {"004", "007", "009", "012"}  # evicted, shadow exception, aborted, held
_ABNORMAL = re.compile(r"Abnormal termination \(signal ([0-9]+)\)")


def read_reasons(directory: Path) -> dict[str, str]:
    """Give why HTCondor last held, evicted or removed jobs, by their ids in its queue (``28.0``), from its own log.

    A line at a time in Python: a log of 10,000 jobs has some 10 MB, and is read only if something is wrong.
    """
    found: dict[str, str] = {}
    path = next(iter(sorted(directory.glob("*.dag.nodes.log"))), None)
    if path is None:
        return found
    event, job = "", ""
    with path.open(errors="replace") as stream:
        for line in stream:
            if match := _HEAD.match(line):
                event, job = match[1], f"{match[2]}.{match[3]}"
                if event == "009" and found.get(
                    job
                ):  # what it was held for says more than that it was removed
                    event = ""
                elif event in _TOLD:
                    found[job] = ""
            elif event == "005":
                if match := _ABNORMAL.search(line):
                    found[job] = f"killed by signal {match[1]}"
            elif event in _TOLD and line.startswith("\t"):
                text = _reason(line.strip())
                if text and text not in found[job]:
                    found[job] = f"{found[job]}; {text}" if found[job] else text
    return found


_NOISE = re.compile(
    r"^(?:Usr |[0-9]+ +- +|Partitionable|Cpus|Disk|Memory|GPUs|Code [0-9]+ Subcode|\([0-9]+\) (?:Job was not|CPU))"
)


def _reason(text: str) -> str:
    """Give what a line of an event says of the why, or nothing.

    Examples
    --------
    >>> _reason("Code 12 Subcode 2"), _reason("(0) Job terminated and was requeued")
    ('', 'Job terminated and was requeued')
    """
    return "" if _NOISE.match(text) else re.sub(r"^\([0-9]+\) ", "", text)
