"""The registry of a sandbox: of the source's what its datasets need, and what is here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import read_receipt
from prestow.ingest.rows import batch_of, numbers_of
from prestow.model import DatasetType
from prestow.project import binding
from prestow.project.opened import STORE
from prestow.project.sandboxes import place_of
from prestow.registry import DatasetBatch, StoreKind
from prestow.registry.certifying import put_certification, read_certifications
from prestow.stores import open_store

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.manifest import Receipt
    from prestow.model.universe import Universe
    from prestow.project.project import Project
    from prestow.project.sandboxes import Sandbox
    from prestow.registry import Registry
    from prestow.results.ancestry import Ancestry, KnownDataset
    from prestow.stores import Store

Rows = dict[str, list[dict[str, Any]]]  # Any: values of a record


def records_for(registry: Registry, universe: Universe, known: Ancestry) -> Rows:
    """Give the records of dimensions that the data IDs of an ancestry name, and what those imply."""
    kept, _ = _chosen(registry, universe, known)
    return {element: frame.to_dicts() for element, frame in kept.items() if frame.height}


def _chosen(
    registry: Registry, universe: Universe, known: Ancestry
) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    """Give records of dimensions, and rows of relations, that are about an ancestry.

    Of a dimension that no data ID names all records are taken: bands, filters.
    """
    named: dict[str, pl.DataFrame] = {}
    data_ids = [*(d.data_id for d in known.datasets.values()), *(q.data_id for q in known.quanta.values())]
    for element in universe.dimensions:
        keys = list(universe.close([element]))
        values = {tuple(one[k] for k in keys) for one in data_ids if set(keys) <= one.keys()}
        if values:
            named[element] = pl.DataFrame(sorted(values), schema=keys, orient="row")
    relations: dict[str, pl.DataFrame] = {}
    for name, relation in universe.relations.items():
        frame = _frame(registry.relation(name))
        for side in relation.between:
            for element in side:
                keys = list(universe.close([element]))
                if element in named and set(keys) <= set(frame.columns):
                    frame = frame.join(_as(named[element], frame), on=keys, how="semi")
        relations[name] = frame
        for side in relation.between:  # the visits of exposures, where only these are named
            for element in side:
                keys = list(universe.close([element]))
                if element not in named and set(keys) <= set(frame.columns) and frame.height:
                    named[element] = frame.select(keys).unique().sort(keys)
    records = {}
    for element in universe.dimensions:
        frame = _frame(registry.dimension_records(element))
        if element in named:
            keys = list(universe.close([element]))
            frame = frame.join(_as(named[element], frame), on=keys, how="semi", maintain_order="left")
        records[element] = frame
    return records, relations


def _as(frame: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(name).cast(other.schema[name]) for name in frame.columns)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def fill_registry(
    registry: Registry,
    project: Project,
    sandbox: Sandbox,
    at_hand: Collection[str],
    here: Collection[str],
    uri: str,
) -> None:
    """Register what is in a sandbox; again is fine."""
    known = sandbox.ancestry
    registry.register_store(STORE, uri, StoreKind.OUTPUT)
    for name, dimensions, form in sorted(
        {(d.type, tuple(sorted(d.data_id)), d.format) for d in known.datasets.values()}
    ):
        if name not in registry.dataset_types():
            there = project.registry.known_type(name)
            registry.register_dataset_type(DatasetType(name, dimensions, form) if there is None else there)
    records, relations = _chosen(project.registry, project.universe, known)
    for element, frame in records.items():
        registry.insert_dimension_records(element, frame.to_arrow())
    for name, frame in relations.items():
        registry.insert_relation(name, frame.to_arrow())
    registry.register_runs(sorted({d.run for d in known.datasets.values()}))
    for recipe in sandbox.runs.values():
        registry.register_runs([recipe.run, *recipe.parents])
        if recipe.facts:
            registry.bind(recipe.run, recipe.facts)
        family = (recipe.run, *recipe.parents)
        for child, parent in pairwise(family):
            registry.add_parent(child, parent)
        chain = binding.Target(recipe.run, recipe.parents, {}).chain
        members = registry.chain_members(chain) if chain in registry.collections() else ()
        registry.register_chain(chain, (*(m for m in members if m not in family), *family))
    store = open_store(uri)
    receipts = [r for key in at_hand if (r := read_receipt(store, known.quanta[key].name)) is not None]
    register_receipts(registry, receipts, here)
    roots = [one for one in known.datasets.values() if not one.quantum and one.id in here]
    registry.insert_datasets(_roots(roots))
    _bring_certifications(project, known, registry, store)
    certify_again(registry, store)


def _bring_certifications(project: Project, known: Ancestry, registry: Registry, store: Store) -> None:
    """Bring what certifies a dataset of the ancestry; what others superseded it with is not there, either."""
    ids = {one.id.replace("-", "") for one in known.datasets.values() if not one.quantum}
    for collection in project.registry.certified.collections():
        for kind in project.registry.certified.types((collection,)):
            for act in read_certifications(project.store, collection, kind):
                if ids.intersection(key.replace("-", "") for key in act.datasets):
                    put_certification(store, act)
                    registry.certified.create(collection)


def certify_again(registry: Registry, store: Store) -> None:
    """Make the rows of calibrations what the records of a sandbox say of the datasets that are here."""
    for collection in registry.certified.collections():
        for kind in registry.dataset_types():
            registry.certified.apply(store, collection, kind)


def register_receipts(registry: Registry, receipts: Iterable[Receipt], here: Collection[str]) -> None:
    """Register settled quanta, with those of their outputs that are here."""
    receipts = list(receipts)
    if not receipts:
        return
    away = {o.id for r in receipts for o in r.outputs if o.id not in here}
    registry.insert_datasets(batch_of(receipts, STORE, away, numbers_of(registry.universe)))


def _roots(roots: Iterable[KnownDataset]) -> DatasetBatch:
    import pyarrow as pa

    tables: dict[str, list[dict[str, Any]]] = {}  # Any: values of a row
    artifacts = []
    for one in roots:
        key, content = _octets(one.id), _octets(one.content or one.sha256)
        tables.setdefault(one.type, []).append(
            {"id": key, "run": one.run, "recipe": content[:16], **one.data_id}
        )
        artifacts.append(
            {
                "dataset": key, "store": STORE, "path": place_of(one), "size": one.size, "sha256": _octets(one.sha256),
                "content": _octets(one.content) if one.content else None, "format": one.format,
            }
        )  # fmt: skip
    return DatasetBatch(
        {name: pa.Table.from_pylist(rows) for name, rows in tables.items()},
        pa.Table.from_pylist(artifacts) if artifacts else None,
    )


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))
