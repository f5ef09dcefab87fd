"""What a part of a registry is: whole quanta and files, chosen by collections and by a selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from prestow.errors import ConfigurationError, Problem, ProjectError
from prestow.registry import Registry
from prestow.results.datasets import Sources
from prestow.results.finding import Only, find
from prestow.stores import Store

_FACTS = ("quantum", "receipt", "size")


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a registry that is wanted.

    Parameters
    ----------
    receipts : frozenset of str
        Names of the receipts of quanta of which something is wanted: a quantum comes whole.
    datasets : frozenset of str
        Ids of raw and foreign datasets.
    runs : tuple of str
        The runs of the collections, in the order of search.
    types : mapping of dataset type to int
        Datasets that were chosen.
    size : int
        Their bytes.
    notes : tuple of str
        Types to which the selection does not apply.
    """

    receipts: frozenset[str]
    datasets: frozenset[str]
    runs: tuple[str, ...]
    types: dict[str, int]
    size: int
    notes: tuple[str, ...] = field(default=())


def choose(
    sources: Sources,
    registry: Registry,
    store: Store,
    collections: Sequence[str],
    where: str = "",
    types: Sequence[str] = (),
) -> Part:
    """Choose datasets of some collections that are taken in; of several of one data ID the first in order.

    Raises
    ------
    PrestowError
        PST-G003 if there is no such collection, PST-B006 if nothing is chosen, and what is wrong with the selection.
    """
    runs = tuple(dict.fromkeys(run for name in collections for run in registry.chain_members(name)))
    every = types or tuple(sorted(registry.dataset_types()))
    known = pl.DataFrame(registry.datasets(every, runs, first=False, facts=_FACTS)).select(
        "type", "id", *_FACTS
    )
    chosen: list[str] = []
    notes: list[str] = []
    refusal: ConfigurationError | None = None
    there = set(known["type"].unique())
    for name in every:
        if name not in there:
            continue
        try:
            found = find(
                sources, name, where, (), runs=list(collections), first=True, only=Only.MADE, store=store
            )
        except ConfigurationError as error:
            refusal = error
            notes.append(f"no {name}: {error.problems[0].what}")
            continue
        chosen += found.frame["id"].str.replace_all("-", "").to_list()
    if refusal is not None and not chosen and len(notes) == len(there):
        raise refusal
    rows = known.filter(pl.col("id").bin.encode("hex").is_in(chosen))
    if not rows.height:
        what = "nothing that is taken in is chosen"
        raise ProjectError(
            Problem("PST-B006", what, "--where", f"look: prestow find TYPE --in {collections[0]}")
        )
    made = rows.filter(pl.col("receipt").is_not_null())
    roots = rows.filter(pl.col("receipt").is_null())
    return Part(
        frozenset(made["receipt"]), frozenset(_uuid(key) for key in roots["id"].bin.encode("hex")), runs,
        dict(sorted(Counter(rows["type"]).items())), int(rows["size"].sum()), tuple(notes),
    )  # fmt: skip


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
