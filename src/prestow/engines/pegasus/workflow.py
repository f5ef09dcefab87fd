"""The abstract workflow: an entry for each job, and who waits for whom."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prestow.engines.pegasus.manifests import Replica, for_carrying, parents_receipts
from prestow.manifest import Manifest, Values
from prestow.pipeline.definition import OnFailure, TaskDefinition
from prestow.plan import Plan
from prestow.plan.retrying import Change, Retries
from prestow.site import PegasusSettings

NAMESPACE, TRANSFORMATION = "prestow", "node"

MEMORY = 2048  # MB, where the task does not say
GRACE = 300
"""Seconds: Pegasus takes the profile ``runtime`` for a limit and ends a job that long before it is reached."""
DISK = 1024  # MB, the least asked for
SLACK = 3  # a hint is one machine's measure of one quantum

_MEGA = 1_000_000
_MEBI = 1 << 20

Entry = dict[str, Any]  # Any: JSON values


@dataclass(frozen=True, slots=True)
class JobEntry:
    """One job as Pegasus gets it, with what it says as facts.

    ``reads`` and ``makes`` are logical names, sorted; ``replicas`` are those of ``reads`` that exist.
    """

    entry: Entry
    reads: Sequence[str]
    makes: Sequence[str]
    replicas: Mapping[str, Replica]
    manifest: Manifest


def job_ids(names: pl.Series) -> pl.Series:
    """Give the ids of jobs by their names: letters, digits, ``-`` and ``_``, each once.

    Examples
    --------
    >>> job_ids(pl.Series(["isr-1", "isr-1.5", "isr-1_5"])).to_list()
    ['isr-1', 'isr-1_5-1', 'isr-1_5-2']
    """
    frame = pl.DataFrame({"id": names.str.replace_all(r"[^A-Za-z0-9_-]", "_")}).with_row_index("job")
    twin = pl.col("id").is_duplicated()
    numbered = pl.concat_str("id", "job", separator="-")
    frame = frame.with_columns(id=pl.when(twin).then(numbered).otherwise("id"))
    if frame["id"].is_duplicated().any():  # 'a-1' stood there by itself, too
        frame = frame.with_columns(id=pl.concat_str(pl.lit("job"), pl.col("job"), separator="-"))
    return frame["id"]


def cluster_labels(jobs: pl.DataFrame, size: int) -> pl.Series:
    """Give the label of each job: so many of one kind and depth share one, in order.

    Whoever plans with ``--cluster label`` has them run as one; else it says nothing.
    """
    kind = pl.col("label").str.replace_all(r"[^A-Za-z0-9_-]", "_")
    number = pl.int_range(pl.len()).over("label", "depth") // size
    return jobs.select(pl.concat_str(kind, "depth", number, separator="-").alias("cluster")).to_series()


def workflow_name(run: str, plan: str) -> str:
    """Give the name of the workflow: the run, and the beginning of the plan's id.

    Examples
    --------
    >>> workflow_name("night.2+1", "0f3a99c177aa")
    'night_2_1-0f3a99c1'
    """
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', run)}-{plan[:8]}"


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What a plan says of a job: larger ``priority`` first; what its quanta take and make together."""

    priority: int = 0
    cpu_seconds: float | None = None
    output_bytes: float | None = None


def facts_of(jobs: pl.DataFrame) -> list[JobFacts]:
    """Give the facts of all jobs of a plan, in order."""
    names = [name for name in ("priority", "cpu_seconds", "output_bytes") if name in jobs.columns]
    if not names:
        return [JobFacts()] * jobs.height
    return [JobFacts(**row) for row in jobs.select(names).iter_rows(named=True)]


class Entries:
    """Makes the entries of jobs; one for a plan and a site."""

    def __init__(self, plan: Plan, settings: PegasusSettings, retries: Retries | None = None) -> None:
        self._tasks: dict[str, TaskDefinition] = {task.label: task for task in plan.definition.tasks}
        self._settings = settings
        self._retries = retries or Retries()

    def entry(self, manifest: Manifest, job: str, cluster: str, pack: str, facts: JobFacts) -> JobEntry:
        """Give one job; ``pack`` is the logical name of the pack that its manifest is in."""
        change = self._retries.jobs.get(manifest.job, Change(0))
        ready, replicas = for_carrying(manifest)
        reads = sorted({pack, *replicas, *parents_receipts(manifest)})
        tasks = [self._tasks[quantum.task] for quantum in manifest.quanta]
        made = sorted(_receipt_uses(manifest), key=lambda use: str(use["lfn"]))
        entry: Entry = {
            "type": "job",
            "namespace": NAMESPACE,
            "name": TRANSFORMATION,
            "id": job,
            "nodeLabel": manifest.job,
            "arguments": _arguments(manifest, tasks, pack, change.tries),
            "uses": [*({"lfn": name, "type": "input"} for name in reads), *made],
            "profiles": self._profiles(manifest, tasks, cluster, facts),
        }
        if change.avoid:  # HTCondor's own words for the machine that a slot is on
            words = " && ".join(f'(TARGET.Machine =!= "{_machine(host)}")' for host in change.avoid)
            entry["profiles"]["condor"] = {"requirements": words}
        return JobEntry(entry, reads, [use["lfn"] for use in made], replicas, ready)

    def _profiles(
        self, manifest: Manifest, tasks: Sequence[TaskDefinition], cluster: str, facts: JobFacts
    ) -> Entry:
        resources = manifest.resources
        memory = math.ceil(resources["memory"] / _MEBI) if "memory" in resources else MEMORY
        disk = resources.get("disk", self._bytes(manifest, facts.output_bytes or 0.0))
        tries = max((t.tries for t in tasks if t.on_failure is not OnFailure.TOLERATE), default=1)
        tries = self._retries.jobs.get(manifest.job, Change(0)).tries or tries
        # a forecast would be taken for a limit, too, so it is not told
        within = max((t.tries for t in tasks if t.on_failure is OnFailure.TOLERATE), default=1)
        limit = math.ceil(resources.get("walltime", 0) * within)
        return {
            "dagman": {"PRIORITY": facts.priority, "RETRY": max(tries - 1, self._settings.retries)},
            "pegasus": {
                "cores": int(resources.get("cores", 1)),
                "diskspace": max(DISK, math.ceil(disk / _MEGA)),
                "label": cluster,
                "memory": memory,
                **({"runtime": limit + GRACE} if limit else {}),
            },
        }

    def _bytes(self, manifest: Manifest, made: float) -> float:
        """Forecast what the job's directories hold: inputs come here, then into its repository."""
        known = sum(item.size or 0 for item in manifest.inputs)
        planned = sum(
            self._tasks[item.receipt.split("/")[2]].hints.get("output_bytes", 0.0)
            for item in manifest.inputs
            if item.size is None and item.receipt is not None and item.receipt.split("/")[2] in self._tasks
        )
        return SLACK * (known + planned + made)


def _machine(host: str) -> str:
    """Give a host's name as it may stand in a ClassAd."""
    return re.sub(r"[^A-Za-z0-9._-]", "", host)


def _arguments(
    manifest: Manifest, tasks: Sequence[TaskDefinition], pack: str, asked: int | None = None
) -> list[str]:
    words = ["-m", "prestow.node", pack, "--job", manifest.job, "--carry", "."]
    tries = [task.tries for task in tasks if task.on_failure is OnFailure.TOLERATE]
    if tries:  # what Pegasus starts again is not known to be the last try, so all tries are in here
        words += ["--tries", str(asked or max(tries)), "--final"]
    return words


def _receipt_uses(manifest: Manifest) -> Iterator[Entry]:
    for quantum in manifest.quanta:
        facts = {"data_id": words_of(quantum.data_id), "quantum": quantum.id, "task": quantum.task}
        for connection in quantum.outputs.values():
            for number in connection.datasets:
                output = manifest.outputs[number]
                facts[f"{output.type}.data_id"] = words_of(output.data_id)
                facts[f"{output.type}.id"] = output.id
                facts[f"{output.type}.path"] = output.path
        yield {
            "lfn": quantum.receipt,
            "metadata": facts,
            "type": "output",
            "stageOut": False,  # the store has it; a second writer at its name could only do harm
            "registerReplica": False,
        }


def words_of(data_id: Values) -> str:
    """Give a data ID as words.

    Examples
    --------
    >>> words_of({"visit": 3, "instrument": "simcam"})
    'instrument=simcam,visit=3'
    """
    return ",".join(f"{name}={data_id[name]}" for name in sorted(data_id))


def dependencies(edges: pl.DataFrame, ids: pl.Series) -> Iterator[Entry]:
    """Give the children of each job that has some; edges are of the plan's job numbers."""
    ordered = edges.sort("parent", "child")
    named = pl.DataFrame({name: ids.gather(ordered[name]) for name in ("parent", "child")})
    grouped = named.group_by("parent", maintain_order=True).agg("child")
    for parent, children in grouped.iter_rows():
        yield {"id": parent, "children": children}
