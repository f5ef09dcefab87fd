"""What a plan is held against before it is handed over: stores where the site says they are, and inputs as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import PrestowError, Problem
from prestow.project.opened import STORE
from prestow.site import PEGASUS, Site
from prestow.stores import Linkable, open_store

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project.opened import OpenedProject

LOOKED_AT = 20_000
"""Inputs of a plan that are looked at before it is handed over; of more, so many spread over all."""

SHOWN = 5

_RESTORE = "put the file back as it was, or take the new one in and plan again: prestow ingest --raw …, prestow plan --run NAME"


def unreachable_stores(project: OpenedProject, plan: Plan, place: Site) -> Iterator[Problem]:
    """Find the stores that the submit host does not see where the site says they are."""
    assert place.pegasus is not None
    own = project.stores()
    used = {
        STORE,
        *plan.tables.scan("locations").select("store").unique().collect()["store"].drop_nulls().to_list(),
    }
    for name in sorted(used & place.stores.keys()):
        uri = place.stores[name]
        if not uri.startswith("file://") or place.pegasus.staging != PEGASUS:
            continue
        path = Path(uri.removeprefix("file://"))
        fix = f"the transfers of Pegasus begin on this host: mount it here, or correct stores: {{{name}: …}}"
        if not path.is_dir():
            yield Problem("PST-E076", f"the store '{name}' is not there, seen from here", uri, fix)
        elif name in own and _another(own[name], uri):
            what = f"the store '{name}' of this project is {own[name]}, and this is another"
            yield Problem("PST-E076", what, uri, fix)


def _another(own: str, seen: str) -> bool:
    """Say whether two places are surely not one store."""
    one, other = (Path(uri.removeprefix("file://")) for uri in (own, seen))
    if not own.startswith("file://") or not one.is_dir():
        return False
    return not one.samefile(other)


def changed_inputs(project: OpenedProject, plan: Plan) -> list[str]:
    """Refuse a plan whose inputs are gone or have other bytes by now; give notes on what was touched and is the same.

    Raises
    ------
    PrestowError
        PST-E078 with the first of them.
    """
    assert plan.directory is not None
    made = (plan.directory / "plan.yaml").stat().st_mtime
    columns = ["dataset", "store", "path", "size", "sha256"]
    known = plan.tables.scan("locations").select(columns).filter(pl.col("path").is_not_null()).collect()
    looked = known if known.height <= LOOKED_AT else known.gather_every(-(-known.height // LOOKED_AT))
    stores = {name: open_store(uri) for name, uri in project.stores().items() if name in set(looked["store"])}
    wrong: list[Problem] = []
    touched = 0
    for row in looked.iter_rows(named=True):  # a look at a file each
        store = stores.get(row["store"])
        if store is None:
            continue
        size = store.size(row["path"])
        what = ""
        if size is None:
            what = "it is not there any more"
        elif row["size"] is not None and size != row["size"]:
            what = f"it has {size:,} bytes, and had {row['size']:,} when it was planned"
        elif _newer(store, row["path"], made) and row["sha256"] is not None:
            touched += 1
            digest = store.digest(row["path"])
            wanted = row["sha256"].hex() if isinstance(row["sha256"], bytes) else row["sha256"]
            what = (
                ""
                if digest is not None and digest[1] == wanted
                else "its bytes are others than when it was planned"
            )
        if what:
            wrong.append(Problem("PST-E078", what, f"{row['store']}: {row['path']}", _RESTORE))
    if wrong:
        more = [Problem("PST-E078", f"and {len(wrong) - SHOWN:,} inputs more", f"plan {plan.id[:8]}")]
        raise PrestowError(*wrong[:SHOWN], *(more if len(wrong) > SHOWN else []))
    count = "1 input was" if touched == 1 else f"{touched:,} inputs were"
    notes = [f"{count} written after the plan was made, with the same bytes"] if touched else []
    if looked.height < known.height:
        notes.append(f"of {known.height:,} inputs {looked.height:,} were looked at")
    return notes


def _newer(store: object, name: str, than: float) -> bool:
    if not isinstance(store, Linkable):
        return False
    try:
        return store.local_path(name).stat().st_mtime > than
    except OSError:
        return False
