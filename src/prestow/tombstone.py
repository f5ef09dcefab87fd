"""A tombstone: what stands for a planned output that was rightfully or by accident not made.

Owns its format. Serves the node, where an engine carries every declared file and knows of no
optional one, and ingest, which takes it for a state and never for a product. A tombstone is tiny,
says itself what it is, and reaches no archive.
"""

from __future__ import annotations

import json

from prestow.manifest import Receipt, Values
from prestow.model.frozen import frozen
from prestow.model.hashing import canonical_json

TOMBSTONE_SCHEMA = "prestow.tombstone/1"

LARGEST = 1 << 16
"""Bytes; what is larger is no tombstone."""


@frozen
class Tombstone:
    """What is said of one output that is not there.

    Parameters
    ----------
    dataset, type, data_id : str, str, mapping
        Which output.
    quantum : str
        Whose.
    state : str
        ``declined``, ``lost`` or ``blocked``.
    code : str or None
        Why, in one word, where there is one.
    """

    dataset: str
    type: str
    data_id: Values
    quantum: str
    state: str
    code: str | None = None

    def to_json(self) -> str:
        r"""Give the canonical JSON; `read_tombstone` reads it back.

        Examples
        --------
        >>> stone = Tombstone("d-1", "mask", {"visit": 3}, "q-1", "declined", "no_stars")
        >>> read_tombstone(stone.to_json().encode()) == stone, read_tombstone(b"SIMPLE  =")
        (True, None)
        """
        return canonical_json({
            "schema": TOMBSTONE_SCHEMA, "dataset": self.dataset, "type": self.type, "data_id": dict(self.data_id),
            "quantum": self.quantum, "state": self.state, "code": self.code,
        })  # fmt: skip


def tombstone_of(claim: Receipt, dataset: str, type_: str, data_id: Values) -> Tombstone:
    """Give the tombstone of an output that a settled quantum did not make.

    An optional output of a quantum that made others is *declined*, with the code ``not_made``.
    """
    made = claim.state == "made"
    state, code = ("declined", "not_made") if made else (claim.state, claim.code)
    return Tombstone(dataset, type_, data_id, claim.quantum, state, code)


def read_tombstone(data: bytes) -> Tombstone | None:
    """Give the tombstone that some bytes are, or None if they are none."""
    if len(data) > LARGEST or not data.startswith(b"{"):
        return None
    try:
        document = json.loads(data)
        if document.pop("schema", None) != TOMBSTONE_SCHEMA:
            return None
        return Tombstone(**document)
    except (ValueError, TypeError, AttributeError):
        return None
