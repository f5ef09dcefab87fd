"""One planned job here, sealed, with its outputs in a directory of their own: nothing is committed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
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


MOST = 20
"""How many jobs that a job needs, and nobody has run yet, are run in the sandbox before it."""


@dataclass(frozen=True, slots=True)
class Debugged:
    """What a job came to in the sandbox; ``directory`` is None if it was taken away again.

    ``first`` are jobs that it needs and that nobody had run: they ran in the sandbox before it. Where
    one of these failed, ``job`` and ``outcome`` are its own.
    """

    job: str
    outcome: Outcome
    outputs: tuple[str, ...]
    directory: Path | None
    first: tuple[str, ...] = ()


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

    What it needs and nobody has made is made in the sandbox first, if that is not much.

    Raises
    ------
    ProjectError
        PST-R004 if there is no such job, PST-P002 if too much that it needs is not made yet.
    """
    number = plan.find_job(job)
    needed = _needed(plan, number, store, stores, name)
    directory = Path(tempfile.mkdtemp(prefix="prestow-debug-"))
    kept = keep
    first: list[str] = []
    here: dict[str, Receipt] = {}
    try:
        (directory / "outputs").mkdir()
        for other, manifest in sorted(needed.items()):
            sealed, receipts = _sealed(manifest, store, directory / "outputs", here)
            own = other == number
            if own:
                (directory / "manifest.json").write_text(sealed.to_json(), encoding="utf-8")
            outcome = run_manifest(
                sealed,
                receipts=receipts,
                scratch=directory / "repository",
                keep=keep and own,
                debugger=debugger and own,
            )
            here |= outcome.receipts
            if own or outcome.failures:
                break
            first.append(manifest.job)
        kept = keep or bool(outcome.failures and debugger)
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
    made = tuple(o.path for r in outcome.receipts.values() for o in r.outputs if o.state == State.MADE)
    return Debugged(manifest.job, outcome, made, directory if kept else None, tuple(first))


def _needed(plan: Plan, number: int, store: Store, stores: dict[str, str], name: str) -> dict[int, Manifest]:
    """Give the manifests, by number, of a job and of those that it needs and nobody has run.

    A job has a higher number than those it needs.
    """
    import polars as pl

    from prestow.naming.identity import uuid_text
    from prestow.plan.manifests import manifests

    found: dict[int, Manifest] = {}
    lacking: list[str] = []  # for each quantum that this very job waits for, its task
    known: set[str] = set()
    todo = [number]
    while todo and len(found) <= MOST:
        told = manifests(plan, todo, store=name, stores=stores)
        found |= dict(zip(todo, told, strict=True))
        known |= {q.id for n in todo for q in found[n].quanta}
        receipts = {str(i.producer): str(i.receipt) for n in todo for i in found[n].inputs if i.producer}
        fresh = [q for q, r in receipts.items() if q not in known and read_receipt(store, r) is None]
        known.update(fresh)
        lacking = lacking or [receipts[quantum].split("/")[2] for quantum in fresh]
        rows = plan.tables["quanta"].filter(uuid_text(pl.col("id")).is_in(fresh))
        todo = sorted(set(rows["job"].to_list()) - found.keys())
    if len(found) > MOST + 1 or todo:
        raise ProjectError(
            *(
                Problem(
                    "PST-P002",
                    f"this job needs what nobody has made yet, {lacking.count(task)} of {task}",
                    f"job {found[number].job}",
                    f"make them first: prestow run --only {task}",
                )
                for task in sorted(set(lacking))
            )
        )
    return found


def _sealed(
    manifest: Manifest, store: Store, outputs: Path, here: Mapping[str, Receipt]
) -> tuple[Manifest, dict[str, Receipt]]:
    """Give the manifest with what others make as inputs that exist, and an output store of its own.

    ``here`` are the receipts of what was made in that store already.
    """
    own = {quantum.id for quantum in manifest.quanta}
    receipts: dict[str, Receipt] = {}
    locations = dict(manifest.locations)
    inputs: list[ManifestInput] = []
    for item in manifest.inputs:
        if item.producer is None or item.producer in own:
            inputs.append(item)
            continue
        receipt = here.get(item.producer)
        if receipt is not None:
            receipts[item.producer] = receipt
            inputs.append(item)
            continue
        receipt = read_receipt(store, str(item.receipt))
        if receipt is None:
            raise ProjectError(
                Problem(
                    "PST-P002", f"an input of {manifest.job} was removed meanwhile", item.local, "try again"
                )
            )
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
