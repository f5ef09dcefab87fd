"""A run removed: what would go, what still depends on it, and the removal itself.

Deleted is for ever. The facts come first: a record that the run is removed, so that nothing is
planned into it any more, and one for each dataset, so that no ingest, nobody's promotion and no late
attempt brings it back. Then files, rows and places in chains go, the plans last: they say what was
planned. Receipts stay, as every receipt does: what was settled stays known, and what other runs read
from this one keeps its provenance. Each step may be done twice, so the same command after a kill
goes on where it was.
"""

from __future__ import annotations

import difflib
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import RECEIPTS, clean, read_receipt, receipt_names
from prestow.errors import Problem, ProjectError, StoreError
from prestow.model.dataset import EXTERNAL_RUN, RAW_RUN
from prestow.registry import CollectionKind, StoreKind, put_record
from prestow.registry.records import is_removed
from prestow.stores import Store, Walkable

if TYPE_CHECKING:
    from pathlib import Path

    from prestow.plan import Plan
    from prestow.registry import Registry

NAMED = 10
_GONE = ".removed-"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Dependents:
    """What still depends on a run.

    Parameters
    ----------
    readers : tuple of (run, task, quanta)
        Quanta of other runs that read its products, where their own products are still here.
    plans : tuple of (plan, run, datasets)
        Plans of other runs that will read so many of its products.
    children : tuple of str
        Runs that repair it, and take from it what was good.
    chains : tuple of str
        Chains that hold it, but for the output chain of its own family.
    """

    readers: tuple[tuple[str, str, int], ...] = ()
    plans: tuple[tuple[str, str, int], ...] = ()
    children: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Each of them in a line for people."""
        return (
            *(
                f"{count:,} quanta of task {task} in run {run} read its products"
                for run, task, count in self.readers
            ),
            *(
                f"plan {plan[:8]} of run {run} reads {count:,} of its products"
                for plan, run, count in self.plans
            ),
            *(f"run {run} is its child, and takes from it what was good" for run in self.children),
            *(f"chain {name} holds it" for name in self.chains),
        )


@dataclass(frozen=True, slots=True)
class Removal:
    """What the removal of a run takes away.

    Parameters
    ----------
    types : mapping of dataset type to int
        Datasets that go.
    size : int
        Their bytes.
    receipts : int
        These stay.
    plans : tuple of str
        Their directories go.
    chains : tuple of str
        Which it leaves.
    dependents : Dependents
        What still depends on it.
    unexpected : tuple of str
        Files in its directory that no receipt commits; they stay.
    removed : bool
        It was done, and not only looked at.
    begun : bool
        Somebody began it before, and was interrupted or ended it.
    """

    run: str
    types: Mapping[str, int]
    size: int
    receipts: int
    plans: tuple[str, ...]
    chains: tuple[str, ...]
    dependents: Dependents = field(default_factory=Dependents)
    unexpected: tuple[str, ...] = ()
    removed: bool = False
    begun: bool = False

    @property
    def datasets(self) -> int:
        """All datasets that go."""
        return sum(self.types.values())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "run": self.run, "removed": self.removed, "begun": self.begun, "datasets": self.datasets,
            "types": dict(self.types), "size": self.size, "receipts": self.receipts, "plans": list(self.plans),
            "chains": list(self.chains), "unexpected": list(self.unexpected),
            "dependents": {
                "readers": [list(row) for row in self.dependents.readers],
                "plans": [list(row) for row in self.dependents.plans],
                "children": list(self.dependents.children), "chains": list(self.dependents.chains),
            },
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Product:
    """A dataset of the run: made, or (without a type) only planned."""

    id: str
    type: str
    size: int
    names: tuple[str, ...]  # in the output store: planned and aside


def look_at(
    registry: Registry, store: Store, run: str, plans: Mapping[Path, Plan], own_chain: str, *, store_name: str
) -> Removal:
    """Say what the removal of a run would take away. Nothing is changed.

    Parameters
    ----------
    plans : mapping of directory to Plan
        Every plan of the project.
    own_chain : str
        The output chain of the run's family, which does not hold it back.

    Raises
    ------
    ProjectError
        PST-G003 if there is no such run; PST-G023 if it may not be removed.
    """
    _refuse(registry, store, run)
    return _found(registry, store, run, plans, own_chain, list(_products(registry, store, run, store_name)))


def _found(
    registry: Registry,
    store: Store,
    run: str,
    plans: Mapping[Path, Plan],
    own_chain: str,
    products: Sequence[_Product],
) -> Removal:
    made = [p for p in products if any(store.size(name) is not None for name in p.names)]
    return Removal(
        run=run,
        types=dict(sorted(Counter(p.type for p in made).items())),
        size=sum(p.size for p in made),
        receipts=sum(1 for _ in receipt_names(store, run)),
        plans=tuple(plan.id for plan in plans.values() if plan.run == run),
        chains=registry.holdings.chains(run),
        dependents=_dependents(registry, store, run, plans, own_chain),
        unexpected=tuple(_unexpected(store, run, products)),
        begun=is_removed(store, run),
    )


def remove(
    registry: Registry,
    store: Store,
    run: str,
    plans: Mapping[Path, Plan],
    own_chain: str,
    *,
    store_name: str,
    even_so: bool = False,
    progress: Progress | None = None,
) -> Removal:
    """Remove a run for ever. Killed at any moment, the same call again ends where one call does.

    The caller holds the locks of the run's plans.

    Raises
    ------
    ProjectError
        PST-G022 if something depends on it, unless ``even_so``; and what `look_at` raises.
    """
    _refuse(registry, store, run)
    registry.frozen.refuse([run], "nothing of it is removed")
    products = list(_products(registry, store, run, store_name))
    found = _found(registry, store, run, plans, own_chain, products)
    if found.dependents.lines and not even_so:
        raise ProjectError(
            Problem(
                "PST-G022",
                f"run '{run}' is still needed: " + "; ".join(found.dependents.lines),
                f"run {run}",
                "remove those first, or, to leave them without it: --even-so",
            )
        )
    put_record(store, "removed", run, {"run": run})
    own = [plan for plan in plans.values() if plan.run == run]
    ids = sorted({p.id for p in products}.union(*map(_planned, own)))
    total = len(ids) + len(products)
    # one small file for each dataset, as the protocol has it: only then may bytes go
    for done, ident in enumerate(ids):
        _tell(progress, done, total)
        put_record(store, "deleted", ident, {"dataset": ident})
    clean(store, runs=[run])
    for done, product in enumerate(products, len(ids)):
        _tell(progress, done, total)
        for name in product.names:
            store.delete(name)
    registry.delete_datasets([uuid.UUID(ident).bytes for ident in ids])
    registry.holdings.leave_chains(run)
    for directory, plan in plans.items():
        if plan.run == run:
            remove_plan(directory)
    _tell(progress, total, total)
    return replace(found, removed=True)


def sweep_plans(plans: Path) -> None:
    """Take away what is left of plans whose removal was interrupted."""
    for directory in plans.glob(f"{_GONE}*"):
        shutil.rmtree(directory, ignore_errors=True)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _refuse(registry: Registry, store: Store, run: str) -> None:
    known = registry.collections()
    kind = known.get(run)
    if run.startswith((RAW_RUN, EXTERNAL_RUN)):
        what = f"run '{run}' holds what nothing here made: raw data and others' files are never removed"
        raise ProjectError(
            Problem("PST-G023", what, f"run {run}", "leave it, or keep it in a project of its own")
        )
    if kind is not None and kind is not CollectionKind.RUN:
        members = ", ".join(registry.chain_members(run)) or "none"
        what = f"'{run}' is a {kind}, and only runs are removed"
        raise ProjectError(Problem("PST-G023", what, "--run", f"its runs: {members}"))
    if kind is None and not is_removed(store, run) and next(_walk(store, f"{RECEIPTS}/{run}"), None) is None:
        runs = [
            n
            for n, k in known.items()
            if k is CollectionKind.RUN and not n.startswith((RAW_RUN, EXTERNAL_RUN))
        ]
        near = difflib.get_close_matches(run, [n for n in runs if not is_removed(store, n)], 1)
        fix = (
            f"did you mean '{near[0]}'?"
            if near
            else f"runs: {', '.join(runs[:NAMED]) or 'none'}{', …' if len(runs) > NAMED else ''}"
        )
        raise ProjectError(Problem("PST-G003", f"there is no run '{run}'", "--run", fix))


def _walk(store: Store, prefix: str) -> Iterator[tuple[str, int]]:
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    return store.walk(prefix)


def _products(registry: Registry, store: Store, run: str, store_name: str) -> Iterator[_Product]:
    """Give what was made: by the registry, and by the receipts of what is not taken in."""
    known, again = set[str](), is_removed(store, run)
    for row in registry.holdings.products(run).to_pylist():
        ident = str(uuid.UUID(bytes=row["id"]))
        known.add(ident)
        # what lies in a store that is only read is somebody else's
        ours = row["kind"] == StoreKind.OUTPUT and row["store"] == store_name
        yield _Product(ident, row["type"], row["size"], (row["path"],) if ours else ())
    taken = (
        {raw.hex() for raw in registry.quanta(run)["id"].to_pylist()}
        if run in registry.collections()
        else set()
    )
    for name in receipt_names(store, run):
        quantum = name.rsplit("/", 1)[-1].removesuffix(".json")
        # after a removal an ingest may have promoted what a late attempt committed, without a row
        if quantum.replace("-", "") in taken and not again:
            continue
        receipt = read_receipt(store, name)
        for output in receipt.outputs if receipt is not None else ():
            if output.state == "made" and output.id not in known:
                names = (output.path, *([output.aside] if output.aside else ()))
                yield _Product(output.id, output.type, output.size or 0, names)


def _planned(plan: Plan) -> set[str]:
    """Give the ids of all that a plan would make: an attempt that sleeps may commit it later."""
    ids = plan.tables["datasets"].filter("planned")["id"].to_list()
    return {str(uuid.UUID(bytes=raw)) for raw in ids}


def _unexpected(store: Store, run: str, products: Sequence[_Product]) -> Iterator[str]:
    known = set(chain.from_iterable(p.names for p in products))
    return (name for name, _ in _walk(store, run) if name not in known)


def _dependents(
    registry: Registry, store: Store, run: str, plans: Mapping[Path, Plan], own_chain: str
) -> Dependents:
    if run not in registry.collections():
        return Dependents()
    planned = []
    for plan in plans.values():
        if plan.run != run and not is_removed(store, plan.run):
            used = plan.tables.scan("datasets").filter(~pl.col("planned") & (pl.col("run") == run))
            count = int(used.select(pl.len()).collect().item())
            planned += [(plan.id, plan.run, count)] if count else []
    return Dependents(
        readers=registry.holdings.readers(run),
        plans=tuple(planned),
        children=tuple(child for child in registry.holdings.children(run) if not is_removed(store, child)),
        chains=tuple(name for name in registry.holdings.chains(run) if name != own_chain),
    )


def remove_plan(directory: Path) -> None:
    """Take a plan away: first its name, so that half of it is none; `sweep_plans` ends what is killed."""
    gone = directory.with_name(f"{_GONE}{directory.name}")
    directory.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
