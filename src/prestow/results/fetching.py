"""A dataset and its ancestors, to be brought elsewhere: what exists, what does not and why, what that would cost.

Reads only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prestow.errors import ObjectNotFoundError, PrestowError
from prestow.registry.records import is_removed, read_record
from prestow.results.regenerating import Cost, Costs, needed

if TYPE_CHECKING:
    from prestow.pipeline.definition import Pipeline
    from prestow.results.ancestry import Ancestry, KnownDataset
    from prestow.stores import Store


@dataclass(frozen=True, slots=True)
class Absent:
    """A dataset that does not exist, or not within reach.

    Parameters
    ----------
    why : str
        Why there are no bytes of it.
    hindrance : str
        Why it cannot be made again either; empty if it can.
    cost : Cost or None
        Of making it again, with all that it needs and that is not there; None if it cannot be.
    """

    dataset: KnownDataset
    why: str
    hindrance: str = ""
    cost: Cost | None = None

    @property
    def rightful(self) -> bool:
        """Whether it was never there: declined, lost or blocked, and its readers did without it."""
        return self.dataset.state in ("declined", "lost", "blocked")

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        one = self.dataset
        return {
            "id": one.id, "type": one.type, "data_id": dict(one.data_id), "run": one.run, "state": one.state, "level": one.level,
            "why": self.why, "regenerable": self.cost is not None, "hindrance": self.hindrance,
            "cost": None if self.cost is None else self.cost.as_dict(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reach:
    """What there is of an ancestry, as far as it is asked for.

    Parameters
    ----------
    ancestry : Ancestry
        All of it, to the raw data: that says what everything was made from.
    present : frozenset of str
        Datasets whose bytes are where they ought to be.
    files : tuple of KnownDataset
        Those of them that are brought: within the depth.
    absent : tuple of Absent
        What is not there within the depth, by level.
    whole : Cost
        Of all that is absent and can be made, together.
    spent : mapping of quantum id to float
        CPU seconds that are on record, of what may be made again.
    """

    ancestry: Ancestry
    present: frozenset[str]
    files: tuple[KnownDataset, ...]
    absent: tuple[Absent, ...]
    whole: Cost = field(default_factory=Cost)
    spent: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(one.size or 0 for one in self.files)


def reach(
    ancestry: Ancestry,
    stores: Mapping[str, Store],
    output: Store,
    pipelines: Mapping[str, Pipeline],
    stopped: Mapping[str, str],
    *,
    depth: int | None = None,
) -> Reach:
    """Look which datasets of an ancestry exist, and what the others would cost.

    Parameters
    ----------
    stores : mapping of name to Store
        Where bytes are.
    output : Store
        Where records and reports are.
    pipelines : mapping of run to Pipeline
        As far as they are known.
    stopped : mapping of run to str
        Runs of which nothing can be made again, and why.
    depth : int, optional
        How many steps up are brought; all, if not given.
    """
    present = frozenset(key for key, one in ancestry.datasets.items() if _is_there(one, stores))
    within = [one for one in ancestry.datasets.values() if depth is None or one.level <= depth]
    files = tuple(one for one in within if one.id in present)
    lacking = {
        key: why
        for key, one in ancestry.datasets.items()
        if key not in present and not one.quantum and (why := _gone_root(one, stores, output))
    }
    costs = Costs(ancestry, output)
    costs.of(list(ancestry.quanta))  # what anything costs is wanted later, where the reports are not
    blind = ancestry.blind()
    absent: list[Absent] = []
    every: list[str] = []
    for one in sorted(within, key=lambda d: (d.level, d.type, str(d))):
        if one.id in present or one.beside:
            continue
        why = why_absent(one, stores, output, pipelines)
        found = needed(ancestry, present, [one.id], stopped=stopped, lacking=lacking, blind=blind)
        cost = costs.of(found.quanta) if not found.hindered else None
        absent.append(Absent(one, why, found.hindered.get(one.id, ""), cost))
        if cost is not None:
            every.append(one.id)
    whole = costs.of(needed(ancestry, present, every, stopped=stopped, lacking=lacking, blind=blind).quanta)
    return Reach(ancestry, present, files, tuple(absent), whole, costs.spent)


def _is_there(one: KnownDataset, stores: Mapping[str, Store]) -> bool:
    if one.state not in ("root", "made", "reused") or not one.path or one.store not in stores:
        return False
    try:
        return stores[one.store].size(one.path) == one.size
    except PrestowError:
        return False


def _gone_root(one: KnownDataset, stores: Mapping[str, Store], output: Store) -> str:
    return f"{one} is gone: {why_absent(one, stores, output, {})}"


def why_absent(
    one: KnownDataset, stores: Mapping[str, Store], output: Store, pipelines: Mapping[str, Pipeline]
) -> str:
    """Say why there are no bytes of a dataset."""
    if one.state in ("declined", "lost", "blocked"):
        return f"{one.state}: {one.code}" if one.code else one.state
    if one.state in ("failed", "pending"):
        return "its attempts failed" if one.state == "failed" else "not made yet"
    if one.quantum and is_removed(output, one.run):
        return f"run {one.run} was removed"
    deleted = _record(output, one.id)
    if one.quantum and not _is_retained(one, pipelines):
        return "not kept (retained: false)"
    if one.state == "deleted" or deleted is not None:
        because = str((deleted or {}).get("because") or "")
        return f"deleted: {because}" if because else "deleted on purpose"
    if one.quantum and one.state == "unknown":
        return "not here, and neither is its receipt"
    if not one.path:
        return "nothing here knows where it lies"
    if one.store not in stores:
        return f"in the store '{one.store}', which cannot be opened"
    try:
        size = stores[one.store].size(one.path)
    except PrestowError as error:
        return f"its store cannot be read: {error.problems[0].what}"
    if size is None:
        return f"no file at {one.store}:{one.path}"
    return f"the file at {one.store}:{one.path} has {size:,} bytes, {one.size or 0:,} were committed"


def _record(output: Store, key: str) -> dict[str, Any] | None:  # Any: facts of a record
    try:
        return read_record(output, "deleted", key)
    except ObjectNotFoundError:
        return None


def _is_retained(one: KnownDataset, pipelines: Mapping[str, Pipeline]) -> bool:
    pipeline = pipelines.get(one.run)
    outputs = [] if pipeline is None else [o for task in pipeline.tasks for o in task.outputs]
    return all(output.retained for output in outputs if output.type == one.type)


def quanta_at_hand(ancestry: Ancestry, present: Collection[str]) -> tuple[str, ...]:
    """Give the settled quanta that count where only some datasets are: all that they made and others need is there."""
    found = []
    for key, quantum in ancestry.quanta.items():
        outputs = [ancestry.datasets[o] for o in quantum.outputs if o in ancestry.datasets]
        made = [one for one in outputs if one.state in ("made", "deleted") and not one.beside]
        whole = bool(made) and all(one.id in present for one in made)
        if quantum.state and (whole or quantum.state != "made"):
            found.append(key)
    return tuple(found)
