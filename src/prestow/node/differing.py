"""What an attempt leaves behind that came to other content than the committed one: a small paper, for a person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from prestow.commit import difference_name
from prestow.errors import PrestowError
from prestow.manifest import Receipt, ReceiptOutput
from prestow.model.hashing import canonical_json
from prestow.stores import Store

SCHEMA = "prestow.difference/1"


def put_difference(store: Store, own: Receipt, committed: Receipt, outputs: Iterable[ReceiptOutput]) -> None:
    """Note how an attempt's outputs differ from the committed ones, if the store takes it.

    Parameters
    ----------
    own, committed : Receipt
        What the attempt came to, and what stands.
    outputs : iterable of ReceiptOutput
        Those of the attempt that are to be held against the committed ones.
    """
    there = {o.id: o for o in committed.outputs}
    facts = {
        "schema": SCHEMA,
        "run": own.run,
        "task": own.task,
        "quantum": own.quantum,
        "data_id": dict(own.data_id),
        "attempt": {"attempt": own.attempt, "job": own.job, "state": own.state},
        "committed": {"attempt": committed.attempt, "job": committed.job, "state": committed.state},
        "outputs": [
            {
                "id": o.id,
                "type": o.type,
                "path": o.path,
                "attempt": _side(o),
                "committed": _side(there.get(o.id)),
            }
            for o in outputs
            if _side(o) != _side(there.get(o.id))
        ],
    }
    name = difference_name(own.run, own.quantum, str(own.attempt))
    with contextlib.suppress(PrestowError, OSError):
        store.put_if_absent(name, canonical_json(facts).encode())


def _side(output: ReceiptOutput | None) -> dict[str, str | int | None]:
    if output is None:
        return {"state": "absent"}
    return {"state": output.state, "size": output.size, "sha256": output.sha256, "content": output.content}
