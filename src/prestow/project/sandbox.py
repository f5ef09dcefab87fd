"""One planned job here, sealed, with its outputs in a directory of their own: nothing is committed."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.commit import promote, read_receipt
from prestow.errors import Problem, ProjectError
from prestow.manifest import Location, Manifest, ManifestInput, Receipt
from prestow.model import State
from prestow.node import Outcome, run_manifest
from prestow.stores import Store

if TYPE_CHECKING:
    from prestow.plan import Plan

SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Debugged:
    """What a job came to in the sandbox; ``directory`` is None if it was taken away again."""

    job: str
    outcome: Outcome
    outputs: tuple[str, ...]
    directory: Path | None


def debug_job(
    plan: Plan,
    job: str,
    store: Store,
    stores: dict[str, str],
    *,
    name: str,
    debugger: bool = False,
    keep: bool = False,
) -> Debugged:
    """Run one planned job in this process, settled or not, from its manifest alone.

    Raises
    ------
    ProjectError
        PST-R004 if there is no such job, PST-P002 if something it needs is not made yet.
    """
    from prestow.plan.manifests import manifests

    number = plan.find_job(job)
    manifest = next(iter(manifests(plan, [number], store=name, stores=stores)))
    directory = Path(tempfile.mkdtemp(prefix="prestow-debug-"))
    kept = keep
    try:
        sealed, receipts = _sealed(manifest, store, directory / "outputs")
        (directory / "outputs").mkdir()
        (directory / "manifest.json").write_text(sealed.to_json(), encoding="utf-8")
        outcome = run_manifest(
            sealed, receipts=receipts, scratch=directory / "repository", keep=keep, debugger=debugger
        )
        kept = keep or bool(outcome.failures and debugger)
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
    made = tuple(o.path for r in outcome.receipts.values() for o in r.outputs if o.state == State.MADE)
    return Debugged(manifest.job, outcome, made, directory if kept else None)


def _sealed(manifest: Manifest, store: Store, outputs: Path) -> tuple[Manifest, dict[str, Receipt]]:
    """Give the manifest with what others make as inputs that exist, and an output store of its own."""
    own = {quantum.id for quantum in manifest.quanta}
    receipts: dict[str, Receipt] = {}
    locations = dict(manifest.locations)
    inputs: list[ManifestInput] = []
    missing: list[Problem] = []
    for item in manifest.inputs:
        if item.producer is None or item.producer in own:
            inputs.append(item)
            continue
        receipt = read_receipt(store, str(item.receipt))
        if receipt is None:
            data_id = ",".join(f"{k}={v}" for k, v in item.data_id.items())
            missing.append(
                Problem(
                    "PST-P002",
                    "an input of this job is not made yet",
                    f"{item.type}{{{data_id}}}",
                    "make it first: prestow run",
                )
            )
            continue
        receipts[item.producer] = receipt
        made = next((o for o in receipt.outputs if o.id == item.id and o.state == State.MADE), None)
        if made is None:
            inputs.append(item)
            continue
        promote(store, receipt)
        locations[item.id] = Location(manifest.store, made.path)
        inputs.append(
            replace(
                item,
                producer=None,
                size=made.size,
                sha256=made.sha256,
                content=made.content,
                recipe=receipt.actual_recipe or item.recipe,
            )
        )
    if missing:
        raise ProjectError(*missing)
    stores = {**manifest.stores, SANDBOX: f"file://{outputs}"}
    for item in inputs:  # receipts of what existed before lie where its bytes lie
        if (
            item.receipt
            and item.id in locations
            and item.receipt.rsplit("/", 1)[-1].removesuffix(".json") not in receipts
        ):
            found = read_receipt(store, item.receipt)
            if found is not None:
                receipts[found.quantum] = found
    return replace(
        manifest, store=SANDBOX, stores=stores, inputs=tuple(inputs), locations=locations
    ), receipts
