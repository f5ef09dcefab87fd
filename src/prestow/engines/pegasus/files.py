"""Files as Pegasus knows them: by logical names, which a job declares and an emission or a job before it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.manifests import EXTERNAL
from prestow.manifest import CARRIED, FLAT
from prestow.naming.flat import flat_name, flat_names, refuse_long
from prestow.plan.ranges import distinct

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan.batches import Batch

    Numbers = npt.NDArray[np.int64]

_MAKER, _BITS = 1 << 40, 42  # keys of receipts by their quanta, above all of rows; what a key may have


@dataclass(frozen=True, slots=True)
class Transport:
    """Who carries what.

    Parameters
    ----------
    store : str
        Name of the output store.
    layout : str
        One of `prestow.manifest.LAYOUTS`.
    staging : bool
        Pegasus brings inputs that exist; else the node fetches them from their stores.
    landing : bool
        Pegasus brings products home; else jobs commit them in the store.
    """

    store: str
    layout: str = "tree"
    staging: bool = True
    landing: bool = False

    def name(self, path: str) -> str:
        """Give the logical name of a file of the output store, or of one that only the emission has."""
        return flat_name(path) if self.layout == FLAT else path

    def names(self, paths: pl.Series) -> pl.Series:
        """Give the logical names of files of the output store."""
        if self.layout != FLAT:
            return paths
        names = pl.select(flat_names(pl.lit(paths))).to_series()
        refuse_long(names.drop_nulls())
        return names.alias(paths.name)


@dataclass(frozen=True, slots=True)
class Carried:
    """What the jobs of a batch are brought.

    Parameters
    ----------
    reads : DataFrame
        ``job`` (row of the batch), ``name``: in order, each once for a job; without what every job is brought.
    names : Series
        Each of the names of ``reads`` once.
    which : array of int
        The place of each of ``reads`` among ``names``.
    replicas : DataFrame
        ``job``, ``scope``, ``store``, ``path``, ``size``, ``sha256`` of those that exist; each once for all jobs of a
        part, if parts are given. ``scope`` is as `external_names` has it.
    crossing : DataFrame
        ``job``, ``name``, ``maker`` (quantum) of those that jobs of the plan make.
    places : DataFrame
        ``in``, ``store``, ``at`` of each of the batch's datasets: where manifests say that it is, see
        `prestow.plan.manifest_text.manifest_texts`.
    """

    reads: pl.DataFrame
    names: pl.Series
    which: Numbers
    replicas: pl.DataFrame
    crossing: pl.DataFrame
    places: pl.DataFrame


def external_names(scope: pl.Series, path: pl.Series) -> pl.Series:
    """Give names of files that exist, before they are made flat: their paths, or those below their stores' directories.

    Parameters
    ----------
    scope : Series
        The name of the store that each is in; empty for the output store.

    Examples
    --------
    >>> external_names(pl.Series(["", "nights"]), pl.Series(["raw/a.fits", "a.fits"])).to_list()
    ['raw/a.fits', '_external/nights/a.fits']
    """
    near = scope == ""
    if near.all():
        return path
    far = pl.concat_str(pl.lit(f"{EXTERNAL}/"), pl.lit(scope), pl.lit("/"), pl.lit(path))
    return pl.select(
        far if not near.any() else pl.when(pl.lit(near)).then(pl.lit(path)).otherwise(far)
    ).to_series()


def _scope(store: pl.Series, output: str) -> pl.Series:
    """Give the stores of files, and nothing for the output store."""
    return store.set(store == output, "")


def carried_by(
    batch: Batch,
    transport: Transport,
    run: str,
    tars: Mapping[str, pl.Series] | None = None,
    part: Numbers | None = None,
) -> Carried:
    """Say what the jobs of a batch are brought, and where their manifests say it is.

    Parameters
    ----------
    run : str
        That of the plan.
    tars : mapping, optional
        ``tar`` (logical name) and ``member`` for each of the batch's items, null for what is in no tar.
    part : array of int, optional
        Of each job of the batch, the part of the workflow that it is in.
    """
    d = batch.datasets
    count = d.height
    owner, item = batch.items["job"].to_numpy(), batch.items["dataset"].to_numpy()
    placed, planned = d["place"].is_not_null().to_numpy(), d["maker"].is_not_null().to_numpy()
    brought = placed & (transport.staging | (transport.landing & _in(d, transport.store)))
    said = d["receipt"].is_not_null().to_numpy()
    # what was rightfully not made, here or elsewhere, has a receipt and no file
    theirs = said & (brought | (~placed & ~planned & (transport.landing | (d["run"] == run).to_numpy())))
    # three columns of names: of files that exist, of products, of receipts
    names = [
        _of(
            brought,
            lambda rows: transport.names(
                external_names(_scope(d["store"][rows], transport.store), d["place"][rows])
            ),
        ),
        _of(planned & transport.landing, lambda rows: transport.names(d["path"][rows])),
        _of(said & (theirs | planned), lambda rows: transport.names(d["receipt"][rows])),
    ]
    keys = np.full((count, 2), -1, np.int64)
    keys[:, 0] = _firsts(names[0], brought)
    if transport.landing:
        keys[planned, 0] = count + np.flatnonzero(planned)
    keys[:, 1] = _firsts(names[2], theirs)
    keys[theirs, 1] += 2 * count
    makers = d["maker"].to_numpy()
    keys[planned, 1] = makers[planned].astype(np.int64) + _MAKER
    flat = keys[item].reshape(-1)
    flat[np.repeat(_own(batch, owner, item), 2)] = -1
    if tars is not None:
        flat[::2][tars["tar"].is_not_null().to_numpy()] = -1
    job, row = np.repeat(owner, 2), np.repeat(item, 2)
    good = np.flatnonzero(flat >= 0)
    good = good[pl.Series((job[good] << _BITS) | flat[good]).is_first_distinct().to_numpy()]
    kind = np.where(good % 2 == 0, np.where(planned[row[good]], 1, 0), 2)
    known, which = distinct(kind * count + row[good], 3 * count)
    each = pl.concat(names)[known]
    reads = pl.DataFrame({"job": job[good], "name": each[which]})
    ours = planned[row[good]]
    there, made = np.flatnonzero(~ours), np.flatnonzero(ours)
    if part is not None:
        keys = part[job[good][there]] * len(known) + which[there]
        there = there[pl.Series(keys).is_first_distinct().to_numpy()]
    facts = d.select("store", "place", "size", "sha256", pl.col("receipt").alias("_path"))[row[good][there]]
    receipt = pl.Series(kind[there] == 2)  # noqa: PLR2004 - the third column
    scope = _scope(facts["store"], transport.store).alias("scope")
    replicas = pl.DataFrame([reads["job"][there], receipt.alias("receipt"), scope, *facts.get_columns()]).select(
        "job", scope=pl.when("receipt").then(pl.lit("")).otherwise("scope"), store=pl.col("store").fill_null(transport.store),
        path=pl.when("receipt").then(pl.col("_path")).otherwise("place"),
        size=pl.when(~pl.col("receipt")).then("size"), sha256=pl.when(~pl.col("receipt")).then("sha256"),
    )  # fmt: skip
    crossing = reads[made].with_columns(maker=makers[row[good][made]].astype(np.int64))
    return Carried(reads, each, which, replicas, crossing, _places(d, transport, brought, item, tars))


def _places(
    d: pl.DataFrame,
    transport: Transport,
    brought: npt.NDArray[np.bool_],
    item: Numbers,
    tars: Mapping[str, pl.Series] | None,
) -> pl.DataFrame:
    """Give where the manifests say that datasets are."""
    none = pl.Series([None], dtype=pl.String).new_from_index(0, d.height)
    far = pl.concat_str(pl.lit(f"{CARRIED}/{EXTERNAL}/"), "store")
    here = pl.when(pl.col("store") == transport.store).then(pl.lit(CARRIED)).otherwise(far)
    within = d.select(pl.when(pl.lit(pl.Series(brought))).then(here).otherwise("store")).to_series()
    at, store = none, none
    if tars is not None:  # what is in a tar is one job's alone
        there = tars["tar"].is_not_null()
        rows = pl.Series(item).filter(there)
        members = pl.select(
            pl.concat_str(pl.lit(tars["tar"]), pl.lit("#"), pl.lit(tars["member"]))
        ).to_series()
        at, store = none.clone().scatter(rows, members.filter(there)), none.clone().scatter(rows, CARRIED)
        within = within.clone().scatter(rows, None)
    return pl.DataFrame({"in": within, "store": store, "at": at})


def _in(datasets: pl.DataFrame, store: str) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (datasets["store"] == store).fill_null(value=False).to_numpy()
    return found


def _of(rows: npt.NDArray[np.bool_], names: Callable[[Numbers], pl.Series]) -> pl.Series:
    """Give names of some rows, and null for the others."""
    at = np.flatnonzero(rows)
    if len(at) == len(rows):
        return names(at).rename("")
    every = pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
    return every.clone().scatter(at, names(at)) if len(at) else every


def _firsts(names: pl.Series, rows: npt.NDArray[np.bool_]) -> Numbers:
    """Give for each of some rows the first that has the same name; -1 for the others."""
    found = np.where(rows, np.arange(len(rows)), -1)
    at = np.flatnonzero(rows)
    mine = names[at]
    if mine.n_unique() < len(mine):
        first = pl.DataFrame({"name": mine, "row": at}).select(pl.col("row").first().over("name"))
        found[at] = first["row"].to_numpy()
    return found


def _own(batch: Batch, owner: Numbers, item: Numbers) -> npt.NDArray[np.bool_]:
    """Say which items are made by the very job that reads them."""
    quanta, job = batch.quanta["quantum"].to_numpy().astype(np.int64), batch.quanta["job"].to_numpy()
    maker = batch.datasets["maker"].fill_null(-1).to_numpy()[item]
    if not len(quanta):
        return np.zeros(len(item), np.bool_)
    at = np.minimum(np.searchsorted(quanta, maker), len(quanta) - 1)
    own: npt.NDArray[np.bool_] = (quanta[at] == maker) & (job[at] == owner)
    return own
