"""What a run committed: from the registry, in columns, and from the receipts that it has not taken in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from prestow.commit import DELETED, each_receipt, read_receipt, receipt_name, receipt_names
from prestow.errors import StoreError
from prestow.model import DataId
from prestow.model.hashing import quantum_id
from prestow.stores import Walkable

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.manifest import Receipt
    from prestow.registry import Registry
    from prestow.stores import Store

PRODUCTS = {
    "id": pl.Binary, "type": pl.String, "path": pl.String, "size": pl.Int64, "sha256": pl.Binary, "format": pl.String,
    "recipe": pl.Binary, "planned_recipe": pl.Binary, "quantum": pl.Binary, "aside": pl.String,
}  # fmt: skip
QUANTA = {
    "id": pl.Binary, "task": pl.String, "job": pl.String, "state": pl.String, "attempt": pl.String, "planned_recipe": pl.Binary,
}  # fmt: skip
OUTPUTS = {"id": pl.Binary, "type": pl.String, "path": pl.String, "task": pl.String, "state": pl.String}

_PIECE = 20_000
_UUID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Committed facts that disagree: a person must look. ``quantum`` or ``dataset`` is whose they are, if that is known."""

    what: str
    where: str
    quantum: bytes = b""
    dataset: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """What a run committed.

    Parameters
    ----------
    products : DataFrame
        Made outputs; ``aside`` only where their receipt was read.
    quanta : DataFrame
        Settled quanta.
    outputs : DataFrame
        All outputs of the receipts that were read, with their states; for a quantum that names none one row,
        with its own id and what it is as ``path``.
    deleted : Series
        Ids of datasets deleted on purpose, of any run.
    contradictions : tuple of Contradiction
        What disagrees.
    taken_in : int
        Quanta that the registry has.
    """

    products: pl.DataFrame
    quanta: pl.DataFrame
    outputs: pl.DataFrame
    deleted: pl.Series
    contradictions: tuple[Contradiction, ...] = ()
    taken_in: int = 0


def read_committed(
    run: str, store: Store, registry: Registry | None, *, store_name: str, every: bool = False
) -> Committed:
    """Say what a run committed.

    What the registry has taken in is read from it; of the rest, or with ``every`` of all, the receipts are
    read. Where both say something of one product and disagree, that is a contradiction.
    """
    products, quanta = pl.DataFrame(schema=PRODUCTS), pl.DataFrame(schema=QUANTA)
    deleted: list[bytes] = []
    if registry is not None and run in registry.collections():
        products = _like(registry.accounting.committed(run, store_name), PRODUCTS)
        quanta = _like(registry.accounting.quanta(run), QUANTA)
    if registry is not None:
        deleted += [uuid.UUID(text).bytes for text in registry.deleted()]
    found = _Found()
    for name, receipt in _receipts(store, run, quanta, found, every=every or not quanta.height):
        found.add(name, receipt)
    read_products, read_quanta = found.frames()
    found.wrong += _differences(products, quanta, read_products, read_quanta)
    taken_in = quanta.height
    fresh = read_products.join(products, on="id", how="anti")
    products = pl.concat([products, fresh])
    quanta = pl.concat([quanta, read_quanta.join(quanta, on="id", how="anti")])
    if isinstance(store, Walkable):  # last: what was deleted meanwhile is deleted, not missing
        names = (name.rpartition("/")[2].removesuffix(".json") for name, _ in store.walk(DELETED))
        deleted += [uuid.UUID(name).bytes for name in names if len(name) == 36]  # noqa: PLR2004 - of a UUID
    return Committed(
        products, quanta, pl.DataFrame(found.outputs, schema=OUTPUTS, orient="row"),
        pl.Series("id", sorted(set(deleted)), pl.Binary), tuple(found.wrong), taken_in,
    )  # fmt: skip


@dataclass(slots=True)
class _Found:
    """What receipts said, row by row: each is a file of its own."""

    outputs: list[tuple[object, ...]] = field(default_factory=list)
    products: list[tuple[object, ...]] = field(default_factory=list)
    quanta: list[tuple[object, ...]] = field(default_factory=list)
    wrong: list[Contradiction] = field(default_factory=list)

    def add(self, name: str, receipt: Receipt) -> None:
        odd = _odd(receipt, name)
        if odd:
            self.wrong.append(Contradiction(odd, name, _quantum_of(name)))
            return
        quantum = _bytes(receipt.quantum)
        planned = bytes.fromhex(receipt.planned_recipe)
        recipe = None if receipt.actual_recipe is None else bytes.fromhex(receipt.actual_recipe)
        self.quanta.append((quantum, receipt.task, receipt.job, receipt.state, receipt.attempt, planned))
        if not receipt.outputs:  # of what was not made, receipts name no outputs
            shown = f"{receipt.task}{{{DataId(dict(receipt.data_id))}}}"
            self.outputs.append((quantum, "", shown, receipt.task, receipt.state))
        for o in receipt.outputs:
            state = o.state if receipt.state == "made" else receipt.state
            self.outputs.append((_bytes(o.id), o.type, o.path, receipt.task, state))
            if state == "made":
                digest = bytes.fromhex(o.sha256 or "")
                row = (
                    _bytes(o.id),
                    o.type,
                    o.path,
                    o.size,
                    digest,
                    o.format,
                    recipe,
                    planned,
                    quantum,
                    o.aside,
                )
                self.products.append(row)

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return (
            pl.DataFrame(self.products, schema=PRODUCTS, orient="row"),
            pl.DataFrame(self.quanta, schema=QUANTA, orient="row"),
        )


def _receipts(
    store: Store, run: str, quanta: pl.DataFrame, found: _Found, *, every: bool
) -> Iterator[tuple[str, Receipt]]:
    def wrong(name: str, error: StoreError) -> None:
        found.wrong.append(Contradiction(error.problems[0].what, name, _quantum_of(name)))

    if every:
        yield from each_receipt(store, run, wrong=wrong)
        return
    names = receipt_names(store, run)
    known = quanta.select("id")
    while piece := list(islice(names, _PIECE)):
        there = pl.DataFrame({"name": piece}).with_columns(id=_ids(pl.col("name").str.extract(_UUID)))
        for name in there.join(known, on="id", how="anti", nulls_equal=False)["name"]:
            try:
                receipt = read_receipt(store, name)
            except StoreError as error:
                wrong(name, error)
                continue
            if receipt is not None:
                yield name, receipt


def _ids(texts: pl.Expr) -> pl.Expr:
    return texts.str.replace_all("-", "", literal=True).str.decode("hex", strict=False)


def _quantum_of(name: str) -> bytes:
    try:
        return _bytes(name.rpartition("/")[2].removesuffix(".json"))
    except ValueError:
        return b""


def _bytes(text: str) -> bytes:
    return uuid.UUID(text).bytes


def _odd(receipt: Receipt, name: str) -> str:
    try:
        if quantum_id(receipt.task, receipt.run, receipt.data_id) != receipt.quantum:
            return "the receipt's quantum is not that of its task, run and data ID"
        if receipt_name(receipt.run, receipt.task, receipt.quantum) != name:
            return "the receipt is of another quantum than its name"
        if receipt.state not in ("made", "declined", "lost", "blocked"):
            return f"'{receipt.state}' is no state of a receipt"
        if any(o.state == "made" and (o.size is None or not o.sha256) for o in receipt.outputs):
            return "an output is made, but its size or digest is missing"
        bytes.fromhex(f"{receipt.planned_recipe}{receipt.actual_recipe or ''}")
        for output in receipt.outputs:
            bytes.fromhex(f"{output.sha256 or ''}{_bytes(output.id).hex()}")
    except (ValueError, TypeError, AttributeError):
        return "an id or digest in the receipt is none"
    return ""


def _differences(
    products: pl.DataFrame, quanta: pl.DataFrame, read_products: pl.DataFrame, read_quanta: pl.DataFrame
) -> Iterator[Contradiction]:
    """Give where registry and receipts disagree, among what both have."""
    both = quanta.join(read_quanta, on="id", suffix="_read")
    other = both.filter(
        (pl.col("state") != pl.col("state_read"))
        | (pl.col("planned_recipe") != pl.col("planned_recipe_read"))
    )
    for ident, task, there, here in other.select("id", "task", "state", "state_read").iter_rows():
        yield Contradiction(
            f"the registry has it as {there}, its receipt as {here}, or under another recipe", task, ident
        )
    pairs = products.join(read_products, on="id", suffix="_read")
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_read") for name in ("path", "size", "sha256"))
    for ident, path in pairs.filter(~same).select("id", "path").iter_rows():
        yield Contradiction(
            "the registry has another path, size or digest than its receipt", path, dataset=ident
        )


def _like(table: pa.Table, schema: dict[str, Any]) -> pl.DataFrame:  # Any: Polars types
    frame = cast("pl.DataFrame", pl.from_arrow(table))
    there: Iterable[pl.Expr] = (
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, kind).alias(name)
        for name, kind in schema.items()
    )
    return frame.select(there)
