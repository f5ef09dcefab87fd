"""What the planner's passes hand on: frames by dataset type and by task, and problems found.

Inside the planner every frame is *expanded*: it has a column for each required and implied
dimension. A row is known by its position, which edges refer to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import OutputConnection, TaskDefinition
from prestow.plan.request import DatasetSource, Request
from prestow.query import Selection

if TYPE_CHECKING:
    from prestow.naming.octets import Octets
    from prestow.plan.unmade import Unmade
    from prestow.plan.wanting import Wanted

ROW = pl.UInt32


@dataclass(frozen=True, slots=True)
class TaskPart:
    """The part of a plan that one task has.

    Parameters
    ----------
    quanta : DataFrame
        Sorted by data ID; dimensions.
    inputs : mapping of connection to DataFrame
        Pairs (quantum, dataset): rows of ``quanta``, and of the frame of the connection's type; sorted.
    recipes : array of uint8, shape (quanta, 16), or None
        The planned recipes, once that pass has run.
    """

    quanta: pl.DataFrame
    inputs: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    recipes: Octets | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Quanta of a task that were dropped for one reason: how many, and the first of them.

    ``severity`` is ``noted`` (asked for, or a consequence), ``waivable`` (refused, unless a person waives
    it) or ``blocking``.
    """

    task: str
    reason: str
    count: int
    examples: pl.DataFrame  # data_id, detail
    severity: str = "noted"


@dataclass(frozen=True, slots=True)
class Waived:
    """What a person waived of a task: the reason to leave quanta out, how many, and why."""

    reason: str
    task: str
    because: str
    count: int


@dataclass(frozen=True, slots=True)
class JobLabel:
    """A task alone, or the tasks of a cluster: jobs of one label have equal shape.

    Parameters
    ----------
    dimensions : tuple of str
        Whose values name a job.
    groups : DataFrame or None
        Of a cluster one row for each job: ``dimensions`` of the first group in it, and ``more``, how
        many groups more. None of a task alone: its quanta are its jobs.
    """

    name: str
    tasks: tuple[str, ...]
    dimensions: tuple[str, ...]
    groups: pl.DataFrame | None = None


def _no_jobs() -> pl.Series:
    return pl.Series("job", [], ROW)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Quanta in jobs; names of jobs are made when asked for, by `prestow.plan.passes.group.job_names`.

    Parameters
    ----------
    labels : tuple of JobLabel
        In the order of the plan.
    jobs : DataFrame
        One row for each job, in order: ``label`` (into ``labels``), ``depth``, ``first``, ``count``,
        ``ordinal`` (among those of its label), then what its quanta come to (``priority`` …), outside the plan's id.
    quanta : DataFrame
        One row for each quantum, in order: ``task`` (position in the pipeline), ``row`` (in that
        task), ``job``.
    edges : DataFrame
        ``parent``, ``child``, ``soft``; sorted.
    renamed : Series
        Jobs that their values cannot name, sorted; ``digits`` says how much of an id they have instead.
    sums : mapping of task to mapping of name to float
        What its quanta come to by its hints, ``cpu_seconds`` and ``output_bytes``, where they say anything.
    """

    labels: tuple[JobLabel, ...]
    jobs: pl.DataFrame
    quanta: pl.DataFrame
    edges: pl.DataFrame
    renamed: pl.Series = field(default_factory=_no_jobs)
    digits: int = 0
    sums: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """All that is known between two passes.

    Parameters
    ----------
    selections : mapping of (task or "", connection or "") to Selection
        Those that are not empty; ``("", "")`` is the request's, ``(task, "")`` the task's own.
    records, relations : mapping of name to DataFrame
        Dimension records and relations, as the source gives them.
    existing : mapping of dataset type to DataFrame
        Existing datasets of each external type; ``planned`` holds those that the plan makes.
    found : mapping of dataset type to int
        How many datasets of an external type there were before any selection.
    calibrations : mapping of dataset type to DataFrame
        Of types that are calibrations: rows of ``existing`` with both intervals; see `prestow.plan.calibrations`.
    extra : mapping of name to DataFrame
        Further tables that are written beside the plan, outside its id.
    identity : mapping of name to digest
        What the plan's id covers besides its tables, such as the version of a relation.
    kinds : mapping of dimension to data type
        Of its column in every frame: a text dimension is an Enum of all values that it has anywhere.
    directories : Series or None
        Every directory that planned names are in.
    told : mapping of name to plain value
        What ``plan.yaml`` tells of the request besides: what was waived.
    whole : mapping of dataset type to DataFrame
        Existing datasets as they were before the request's selection, where it might take only part of
        an observation.
    exclusions : tuple of Selection
        Those of the request, understood; what none of them takes is a selection, see `prestow.plan.choosing`.
    listed : DataFrame or None
        The request's table of data IDs: only what agrees with one of its rows is taken.
    wanted : tuple of Wanted
        The outputs that are wanted; none, if all are. See the pass `want`.
    unmade : mapping of task to Unmade
        What matching left out, until it is known which of it matters to what is wanted.
    """

    request: Request
    source: DatasetSource
    selections: Mapping[tuple[str, str], Selection] = field(default_factory=dict)
    records: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    relations: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    existing: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    calibrations: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    planned: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    parts: Mapping[str, TaskPart] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    grouping: Grouping | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, pl.DataType] = field(default_factory=dict)
    directories: pl.Series | None = None
    told: Mapping[str, Any] = field(default_factory=dict)  # Any: plain values
    whole: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    exclusions: tuple[Selection, ...] = ()
    listed: pl.DataFrame | None = None
    wanted: tuple[Wanted, ...] = ()
    unmade: Mapping[str, Unmade] = field(default_factory=dict)

    def makers(self) -> dict[str, str]:
        """Give the label of the task that makes each planned type, what the node writes for it included."""
        return {o.type: task.label for task in self.request.pipeline.tasks for o in outputs_of(task)}

    def frame(self, dataset_type: str) -> pl.DataFrame:
        """Give the datasets of a type, existing or planned."""
        return self.planned[dataset_type] if dataset_type in self.planned else self.existing[dataset_type]


def outputs_of(task: TaskDefinition) -> tuple[OutputConnection, ...]:
    """Give what a task writes, with what the node writes for it: prototype p under ``_p``."""
    named = {output.name for output in task.outputs}
    return task.outputs + tuple(
        OutputConnection(f"_{p}", f"{task.label}_{p}") for p in task.prototypes if f"_{p}" not in named
    )
