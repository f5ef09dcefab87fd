"""A small campaign as the node leaves it: products with stories, asides, receipts. No plan anywhere."""

import hashlib
import json
import tempfile
from pathlib import Path

from prestow.commit import aside_name, promote, settle
from prestow.formats import Story, StoryInput, open_format
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput
from prestow.model.hashing import canonical_json, dataset_id, digest128, quantum_id

RUN = "demo"


def make(
    store,
    task,
    data_id,
    outputs,
    *,
    inputs=(),
    run=RUN,
    state="made",
    attempt="a1",
    home=True,
    value=1,
    lost=(),
    path=None,
    suffix="json",
    source_bytes=None,
):
    """Commit one quantum; ``inputs`` are receipts of parents, ``source_bytes`` a file before it is stamped.

    Gives its receipt.
    """
    quantum = quantum_id(task, run, data_id)
    planned = digest128("test", task, canonical_json(data_id))
    actual = digest128("deviates", planned) if lost else planned
    taken = [(r, o) for r in inputs for o in r.outputs]
    receipt_inputs = tuple(
        ReceiptInput(
            "in", o.id, o.type, o.data_id, r.run, r.state, r.code, o.sha256, r.planned_recipe, r.actual_recipe
        )
        for r, o in taken
    )
    made = []
    for n, kind in enumerate(outputs):
        ident = dataset_id(kind, run, data_id)
        name = path or f"{run}/{kind}/{kind}-{'-'.join(str(v) for _, v in sorted(data_id.items()))}.{suffix}"
        if state != "made":
            made.append(ReceiptOutput(ident, kind, data_id, suffix, name, "declined"))
            continue
        story = Story(
            type=kind,
            id=ident,
            run=run,
            data_id=canonical_json(data_id),
            task=task,
            version="v1",
            recipe=actual,
            planned_recipe=planned,
            planned=len(taken),
            used=len(taken),
            inputs=tuple(
                StoryInput(
                    i.connection,
                    i.type,
                    canonical_json(dict(i.data_id)),
                    i.id,
                    sha256=i.sha256 or "",
                    recipe=i.actual_recipe or "",
                )
                for i in receipt_inputs
            ),
        )
        aside = aside_name(quantum, attempt, n)
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory, "x." + suffix)
            metrics = {"value": value, "of": {"outputs": len(outputs)}, "by": task}
            text = json.dumps({"task": task, "value": value, "metrics": metrics, **data_id})
            source.write_bytes(text.encode() if source_bytes is None else source_bytes)
            with store.create(aside) as sink:
                stamped = open_format(suffix).stamp(source, sink, story)
        made.append(
            ReceiptOutput(
                ident,
                kind,
                data_id,
                suffix,
                name,
                "made",
                aside,
                stamped.size,
                stamped.sha256,
                stamped.content,
            )
        )
    receipt = Receipt(
        quantum=quantum,
        task=task,
        run=run,
        data_id=data_id,
        job=f"{task}-job",
        state=state,
        planned_recipe=planned,
        actual_recipe=actual if state in ("made", "declined") else None,
        attempt=attempt if state in ("made", "declined") else None,
        sealer=None if state in ("made", "declined") else "engine",
        code="cloudy" if state == "declined" else None,
        version="v1",
        inputs=receipt_inputs,
        outputs=tuple(made),
    )
    winner, _ = settle(store, receipt)
    if home:
        promote(store, winner)
    return winner


def campaign(store, visits=4, detectors=2, *, run=RUN, home=lambda n: True):
    """Commit isr, align and coadd; ``home`` says which of the quanta are promoted. Gives the receipts."""
    receipts = []

    def add(*args, **kwargs):
        receipts.append(make(store, *args, run=run, home=home(len(receipts)), **kwargs))
        return receipts[-1]

    aligned = []
    for visit in range(1, visits + 1):
        for detector in range(detectors):
            ids = {"instrument": "sim", "visit": visit, "detector": detector}
            isr = add("isr", ids, ["isr", "isr_log"])
            state = {2: "declined", 3: "lost"}.get(visit if detector else 0, "made")
            aligned.append(add("align", ids, ["aligned"], inputs=[isr], state=state))
    add("coadd", {"instrument": "sim", "band": "g"}, ["coadd"], inputs=aligned, lost=["x"])
    add("summary", {}, ["summary"], inputs=receipts[-1:])
    return receipts


def sha(data):
    return hashlib.sha256(data).hexdigest()


def comparable(registry):
    dump = registry.dump()
    dump.pop("store")
    return dump
