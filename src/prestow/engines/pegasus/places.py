"""Where files lie: for the planner, as URLs; for tars that are written here, as files of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.catalogues import settings_of
from prestow.errors import PlanRefusedError, PrestowError, Problem, ProjectError
from prestow.manifest import LAYOUTS
from prestow.node.tars import write_tar

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.engines.pegasus.files import Transport
    from prestow.plan import Plan
    from prestow.plan.batches import Batch
    from prestow.site import Site

    Numbers = npt.NDArray[np.int64]

TARS = "tars"


@dataclass(frozen=True, slots=True)
class Places:
    """URIs of stores.

    Parameters
    ----------
    uris : mapping of name to URI
        Where the planner finds each store.
    here : mapping of name to URI
        Where this process sees it.
    landed : str or None
        Under which the output store lies for the submit host, if products land.
    """

    uris: Mapping[str, str]
    here: Mapping[str, str]
    landed: str | None = None

    @classmethod
    def of(cls, site: Site, store: str, home: Mapping[str, str], *, landing: bool) -> Places:
        """Give the places of a site.

        Raises
        ------
        ProjectError
            PST-E050 if products land, and nobody says where the output store is on the submit host.
        """
        uris = {**home, **site.stores}
        if not landing:
            return cls(uris, {**site.stores, **home})
        landed = settings_of(site).landing or home.get(store) or site.stores.get(store)
        if landed is None:
            what = (
                f"nobody says where the submit host sees the output store '{store}', in which products land"
            )
            raise ProjectError(
                site.problem("PST-E050", ("pegasus", "landing"), what, "write landing: file:///…")
            )
        return cls({**uris, store: landed}, {**site.stores, **home}, landed)

    def urls(self, store: pl.Series, path: pl.Series) -> pl.Series:
        """Give the URLs of files of stores."""
        tops = {name: uri.rstrip("/") for name, uri in self.uris.items()}
        frame = pl.DataFrame({"store": store, "path": path})
        top = pl.col("store").replace_strict(tops, default=None, return_dtype=pl.String)
        return frame.select(pl.concat_str(top, pl.lit("/"), "path").alias("url"))["url"]


def private(plan: Plan, jobs: Numbers, transport: Transport) -> npt.NDArray[np.bool_] | None:
    """Say of each dataset whether one job alone reads it; None where nothing goes into tars."""
    if transport.layout != LAYOUTS[2] or not transport.staging:
        return None
    job = plan.tables.scan("quanta").select("job").collect()["job"].to_numpy()
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    pairs = pl.DataFrame({"job": job[inputs["quantum"].to_numpy()], "dataset": inputs["dataset"]}).unique()
    pairs = pairs.filter(pl.col("job").is_in(pl.Series(jobs).implode()))
    readers = np.bincount(pairs["dataset"].to_numpy(), minlength=plan.document["totals"]["datasets"])
    alone: npt.NDArray[np.bool_] = readers == 1
    return alone


def members(
    batch: Batch, alone: npt.NDArray[np.bool_], ids: pl.Series, transport: Transport
) -> dict[str, pl.Series]:
    """Give for each item of a batch ``tar`` (logical name) and ``member``, null for what several jobs read."""
    d = batch.datasets
    mine = alone[d["dataset"].to_numpy()] & d["place"].is_not_null().to_numpy()
    job, item = batch.items["job"].to_numpy(), batch.items["dataset"].to_numpy()
    here = pl.Series(mine[item])
    frame = d.select("type", "path", "id")[item].with_columns(job=job, here=here)
    member = pl.concat_str(pl.lit("inputs/"), "type", pl.lit("/"), "path")
    apart = pl.concat_str(pl.lit("inputs/"), "type", pl.lit("/"), "id", pl.lit("/"), "path")
    frame = frame.with_columns(member=member).with_columns(
        member=pl.when(pl.struct("job", "member").is_first_distinct()).then("member").otherwise(apart)
    )
    tar = pl.concat_str(pl.lit(f"{TARS}/"), pl.lit(ids[job]), pl.lit(".tar"))
    told = frame.select(tar=pl.when("here").then(tar), member=pl.when("here").then("member"))
    return {"tar": transport.names(told["tar"]), "member": told["member"]}


def write_tars(batch: Batch, tars: Mapping[str, pl.Series], places: Places, top: Path) -> None:
    """Write the tars of the jobs of a batch, each streamed.

    Raises
    ------
    PlanRefusedError
        PST-E051 if an input cannot be read here.
    """
    d = batch.datasets.select("store", "place")[batch.items["dataset"].to_numpy()]
    rows = d.with_columns(tar=tars["tar"], member=tars["member"]).filter(pl.col("tar").is_not_null())
    # A tar at a time: each is a file that is copied together.
    for (tar,), part in rows.group_by("tar", maintain_order=True):
        path = top / str(tar)
        path.parent.mkdir(parents=True, exist_ok=True)
        found = []
        for store, place, member in part.select("store", "place", "member").iter_rows():
            uri = places.here.get(store, "")
            if not uri.startswith("file://"):
                what = f"layout: tar needs files of this machine, and the store '{store}' is at {uri or 'no place'}"
                raise PlanRefusedError(Problem("PST-E051", what, place, "write layout: tree, or flat"))
            found.append((member, Path(uri.removeprefix("file://")) / place))
        try:
            write_tar(path, found)
        except OSError as error:
            what = f"an input cannot be read for a tar: {error.strerror or error}"
            where = str(error.filename or tar)
            raise PlanRefusedError(Problem("PST-E051", what, where, "put it back, or plan again")) from error
        except PrestowError as error:
            raise PlanRefusedError(*error.problems) from error
