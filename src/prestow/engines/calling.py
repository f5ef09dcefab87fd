"""The one call that every engine carries: run this manifest, with the receipts of its parents."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prestow.engines import JobSpec

Result = Mapping[str, Any]  # Any: JSON values


def run_node(manifest: str, receipts: Sequence[str], parents: Sequence[Result]) -> dict[str, Any]:
    """Run a manifest at the node; parents are results of this very function."""
    from prestow.node import run_manifest_json

    given = [list(receipts), *(p["receipts"] for p in parents if p.get("receipts"))]
    return run_manifest_json(manifest, given)


def call_node(spec: JobSpec, parents: Sequence[Result]) -> tuple[Result, str]:
    """Run a job in this process; give its result, or what the node itself raised, which is a bug."""
    try:
        return run_node(spec.manifest, spec.receipts, parents), ""
    except Exception as error:  # noqa: BLE001 - the edge of a job: it becomes a report
        return {}, "".join(traceback.format_exception(error))
