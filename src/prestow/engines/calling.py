"""The one call that every engine carries: run this manifest, with the receipts of its parents."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]  # Any: JSON values


def call_node(manifest: str, receipts: Sequence[str], parents: Sequence[Result]) -> Result:
    """Run a manifest at the node; parents are results of this very function.

    What the node itself raises, which it does for no failure of a task, comes back as ``error``.
    """
    from prestow.node import run_manifest_json

    given = [list(receipts), *(p["receipts"] for p in parents if p.get("receipts"))]
    try:
        return run_manifest_json(manifest, given)
    except Exception as error:  # noqa: BLE001 - the edge of a job
        return {"error": "".join(traceback.format_exception(error))}
