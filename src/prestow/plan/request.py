"""What is asked of the planner, and where it looks things up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.errors import Problem
    from prestow.model.universe import Universe
    from prestow.pipeline.definition import Pipeline
    from prestow.plan.promising import Promised
    from prestow.plan.stages import Stage
    from prestow.plan.state import State
    from prestow.plan.tainted import Tainted
    from prestow.query import Selection
    from prestow.query.data_ids import DataIds


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What is not taken, and why: a selection, and a text that stays in the plan outside its id."""

    where: str
    because: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request: it and the inputs it finds determine the plan.

    Parameters
    ----------
    run : str
        The collection that everything goes to.
    pipeline, universe : Pipeline, Universe
        As loaded and checked.
    chain : tuple of str
        Collections in which existing inputs are searched, in order. Where things were looked for
        does not enter the plan's id; what was found does.
    where : str
        A selection over the existing inputs. What it does not apply to is kept: a bias has no visit.
    child_of : str or None
        The run that this one repairs.
    mixed : bool
        Go on although the run is bound to another pipeline.
    store : str
        Name of the store that outputs go to; outside the plan's id.
    calibrations : tuple of str
        Calibration collections in the order of search, ``NAME`` or pinned as ``NAME@LABEL``; all, of
        equal rank, if none is given. Outside the plan's id, as ``chain`` is.
    as_of : int or None
        Take only calibrations that were known at that moment, in nanoseconds of TAI; outside the
        plan's id, so that a replay is the plan that it replays.
    waive : tuple of str
        Reasons to leave quanta out that a person accepts, ``REASON`` or ``REASON@TASK``; ``*`` and ``?`` stand
        for any characters.
    waive_because : str
        Why; it stays in the plan, outside its id.
    whole : bool
        Take observations of which a gather would see only part as a whole.
    flat : bool
        Refuse base names that clash where all files of a job lie in one directory.
    check : callable or None
        Asked at the end what stands against the plan that the planner cannot know: stores that do
        not answer, room that is not there. See the pass `afford`.
    excluded : tuple of Exclusion
        Existing inputs that are not taken; calibrations by validity go by their certification alone.
    data_ids : DataIds or None
        Take only existing inputs that agree with a row of this table in the dimensions that both have.
    want : tuple of str
        Outputs that are wanted, see `prestow.plan.wanting`: only what they need is planned. All, if empty.
    part : str
        ``K/N``: the K-th of N parts that share no planned dataset, see `prestow.plan.splitting`. The whole, if
        empty.
    promised : Promised or None
        Inputs that are named and not there yet, see `prestow.plan.promising`.
    stage : Stage or None
        Which part of a pipeline with barriers ``pipeline`` is, see `prestow.plan.stages`.
    origins : frozenset of str
        Where values of configuration are from that were given for this plan: ``--set``, ``file:line``.
    tainted : Tainted or None
        Existing datasets that are known to be bad, or were made from such, see `prestow.plan.tainted`.
    tell : callable
        Told what the planner does now, a word or a few, as it goes.
    """

    run: str
    pipeline: Pipeline
    universe: Universe
    chain: tuple[str, ...] = ()
    where: str = ""
    child_of: str | None = None
    mixed: bool = False
    store: str = "output"
    calibrations: tuple[str, ...] = ()
    as_of: int | None = None
    waive: tuple[str, ...] = ()
    waive_because: str = ""
    whole: bool = False
    flat: bool = False
    check: Callable[[State], Iterable[Problem]] | None = field(default=None, compare=False, repr=False)
    excluded: tuple[Exclusion, ...] = ()
    data_ids: DataIds | None = None
    want: tuple[str, ...] = ()
    part: str = ""
    promised: Promised | None = None
    stage: Stage | None = None
    origins: frozenset[str] = frozenset()
    tainted: Tainted | None = None
    tell: Callable[[str], None] = field(default=lambda _: None, compare=False, repr=False)


class DatasetSource(Protocol):
    """What the planner asks of a registry; `prestow.registry.Registry` is one."""

    def datasets(
        self,
        types: Sequence[str],
        collections: Sequence[str],
        *,
        first: bool = True,
        coded: bool = False,
        where: Selection | None = None,
        unknown: bool = False,
    ) -> pa.Table:
        """Give existing datasets, one row each; with ``first`` the first collection wins per data ID.

        Where ``coded``, digests may be octets, and texts codes. With ``where`` and ``unknown`` what a selection surely
        does not take may be left out.
        """

    def calibrations(self, types: Sequence[str], collections: Sequence[str], as_of: int | None) -> pa.Table:
        """Give calibrations, a row for each validity that is known: as `datasets`, with both intervals.

        More columns: ``collection``, ``rank``, ``valid_begin``, ``valid_end``, ``known_begin``, ``known_end``.
        """

    def dimension_records(self, element: str) -> pa.Table:
        """Give the records of a dimension: keys, implied values, metadata."""

    def relation(self, name: str, *, coded: bool = False) -> pa.Table:
        """Give the rows of a relation, each once: the keys of both its sides. Where ``coded``, texts may be codes."""

    def quanta(self, run: str) -> pa.Table:
        """Give what is settled in a run: at least ``id`` and ``planned_recipe``."""

    def binding(self, run: str) -> Mapping[str, Any] | None:  # Any: facts of a record
        """Give what a run is bound to, with the pipeline's digest under ``pipeline``, or None."""
