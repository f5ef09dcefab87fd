"""What Pegasus recorded of files, against what receipts say: two that measured the same bytes must agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import RECEIPTS
from prestow.engines.pegasus.jobstates import ask, workflow_directories
from prestow.engines.pegasus.submissions import Record
from prestow.model.flat import escaped
from prestow.naming.flat import flat_names, flat_path
from prestow.registry.findings import CONTRADICTORY

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.stores import Store

_SCHEMA = {"lfn": pl.String, "size": pl.Int64, "sha256": pl.String}


_QUERY = """
SELECT l.lfn, max(CASE m.key WHEN 'size' THEN m.value END), max(CASE m.key WHEN 'checksum.value' THEN m.value END)
FROM rc_meta m JOIN rc_lfn l USING (lfn_id) WHERE m.key IN ('size', 'checksum.value') GROUP BY l.lfn ORDER BY l.lfn
"""


def recorded_files(submit: Path) -> pl.DataFrame:
    """Give what Pegasus recorded of the files that jobs made: ``lfn size sha256``, in all its workflows.

    Where it checks files itself it writes them down beside its database; that has them anyway, as they were last.
    """
    kept = [(lfn, _number(size), sha256) for lfn, size, sha256 in ask(submit, _QUERY) or ()]
    frames = [pl.DataFrame(kept, schema=_SCHEMA, orient="row")]
    for directory in workflow_directories(submit):
        for path in sorted(directory.glob("*.cache.meta")):
            text = path.read_bytes().decode(errors="replace")
            lines = pl.DataFrame({"line": text.splitlines()}, schema={"line": pl.String})
            line = pl.col("line")
            frames.append(
                lines.select(
                    lfn=line.str.extract(r'^"?(.*?)"? @@PFN@@ '),
                    size=line.str.extract(r' size="([0-9]+)"').cast(pl.Int64, strict=False),
                    sha256=line.str.extract(r' checksum\.value="([0-9a-f]{64})"'),
                ).filter(pl.col("lfn").is_not_null())
            )
    return pl.concat(frames).unique(maintain_order=True)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def differing(
    plan: Plan, record: Record, store: Store, products: pl.DataFrame
) -> list[Mapping[str, Any]]:  # Any: JSON values
    """Give the facts of a finding for each file of which Pegasus recorded other bytes than are committed.

    Parameters
    ----------
    products : DataFrame
        What the registry has of the run: ``path size sha256`` (octets or text).
    """
    submit = record.submit_directory(plan.directory) if plan.directory is not None else None
    if submit is None or not submit.is_dir():
        return []
    recorded, flat = recorded_files(submit), _is_flat(plan, record)
    if (
        record.products == "store"
    ):  # there only receipts are carried, each the very bytes of the one in the store
        own = f"{RECEIPTS}/{plan.run}/"
        names = recorded.filter(pl.col("lfn").str.starts_with(escaped(own) if flat else own))["lfn"]
        paths = [flat_path(name) if flat else name for name in names.unique(maintain_order=True)]
        rows = [(path, *found) for path in paths if (found := store.digest(path)) is not None]
        committed = pl.DataFrame(
            rows, schema={"path": pl.String, "size": pl.Int64, "sha256": pl.String}, orient="row"
        )
    else:
        committed = _as_text(products)
    name = pl.col("path")
    committed = committed.with_columns(lfn=flat_names(name) if flat else name)
    both = recorded.join(committed, on="lfn", how="inner", suffix="_committed", maintain_order="left")
    same = (pl.col("size").is_null() | (pl.col("size") == pl.col("size_committed"))) & (
        pl.col("sha256").is_null() | (pl.col("sha256") == pl.col("sha256_committed"))
    )
    # a job that was tried again made its files again: one of those that were recorded must be the committed one
    agreed = both.filter(same)["lfn"].implode()
    other = both.filter(~pl.col("lfn").is_in(agreed)).unique("lfn", keep="last", maintain_order=True)
    return [
        {
            "kind": CONTRADICTORY, "run": plan.run, "path": row["path"],
            "what": "Pegasus recorded other bytes of this file than are committed",
            "recorded": {"size": row["size"], "sha256": row["sha256"]},
            "committed": {"size": row["size_committed"], "sha256": row["sha256_committed"]},
            "submission": record.number, "plan": plan.id,
        }
        for row in other.iter_rows(named=True)
    ]  # fmt: skip


def _is_flat(plan: Plan, record: Record) -> bool:
    """Say whether the files of a submission went by flat names."""
    assert plan.directory is not None
    try:
        told = json.loads((plan.directory / record.emission / "submission.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(told.get("layout") == "flat")


def _as_text(products: pl.DataFrame) -> pl.DataFrame:
    frame = products.select("path", pl.col("size").cast(pl.Int64), "sha256")
    if frame.schema["sha256"] == pl.Binary:
        frame = frame.with_columns(pl.col("sha256").bin.encode("hex"))
    return frame
