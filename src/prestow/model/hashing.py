"""The one page of hashing: dataset and quantum ids, recipes, code and plan digests.

Every identity in the system is taken here, from a tagged canonical text, so that the planner
(in columns) and the node (one at a time, standard library only) arrive at the same value. The
column forms in `prestow.naming.identity` are tested against the functions of this page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

NAMESPACE = bytes.fromhex("840b31d905cd5161b2c800d32b280d0f")
SEPARATOR = "\x1f"
MODULUS = 1 << 128

Scalar = str | int

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> str:
    """Give the one text of plain values: sorted keys, no blanks, no ASCII escapes.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [True, None, "x"]})
    '{"a":[true,null,"x"],"b":1}'
    """
    return _ENCODER.encode(value)


def sha256_hex(data: bytes) -> str:
    """Give the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest128(tag: str, *parts: str) -> str:
    """Give the first 128 bits, as 32 hexadecimal digits, of the SHA-256 of tag and parts.

    Parts are joined by the unit separator (U+001F), which none of them may contain.

    Examples
    --------
    >>> digest128("recipe/1", "a", "b") == digest128("recipe/1", "a", "b")
    True
    """
    return hashlib.sha256(SEPARATOR.join((tag, *parts)).encode()).hexdigest()[:32]


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid_of(text: str) -> str:
    """Give the UUIDv5 of the text of an id (see `dataset_id`), in the namespace of all ids here."""
    h = hashlib.sha1(NAMESPACE + text.encode(), usedforsecurity=False).hexdigest()
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def pairs_of(data_id: Mapping[str, Scalar]) -> str:
    """Give ``,k=v,k=v`` sorted by name, as it stands in the text of an id."""
    return "".join(f",{name}={data_id[name]}" for name in sorted(data_id))


def dataset_id(dataset_type: str, run: str, data_id: Mapping[str, Scalar]) -> str:
    """Give the UUIDv5 of a dataset, by Rubin's deterministic recipe (``DATAID_TYPE_RUN``).

    The text hashed is ``dataset_type=T,run=R,k=v,…`` with the required dimensions sorted by
    name, in the namespace of ``uuid5(NAMESPACE_DNS, "lsst.org")``; so ids agree with a Gen3
    repository where dimensions do.

    Examples
    --------
    >>> dataset_id("bias", "demo", {"detector": 1, "instrument": "sim"})
    'ea49c55a-3728-50b9-9dcd-9f79a977abc2'
    """
    return uuid_of(f"dataset_type={dataset_type},run={run}{pairs_of(data_id)}")


def quantum_id(task: str, run: str, data_id: Mapping[str, Scalar]) -> str:
    """Give the UUIDv5 of a quantum: a function of task, run and data ID only."""
    return uuid_of(f"quantum={task},run={run}{pairs_of(data_id)}")


def task_digest(task: str, definition: Mapping[str, object], code: str | None) -> str:
    """Give the digest of what a task does: label, entry or command, configuration and code.

    Parameters
    ----------
    task : str
        The task's label in its pipeline.
    definition : Mapping
        Plain values: ``entry`` or ``command``, and the resolved ``config``.
    code : str or None
        SHA-256 of the deterministic zip of the workflow's code, if there is one.
    """
    return digest128("task/1", task, canonical_json(definition), code or "")


def input_term(connection: str, dataset_type: str, data_id_json: str, recipe: str) -> int:
    """Give the 128-bit term that one input adds to a planned recipe."""
    return int(digest128("input/1", connection, dataset_type, data_id_json, recipe), 16)


def planned_recipe(task: str, data_id_json: str, terms: Iterable[int]) -> str:
    """Give P: what a quantum makes from what by which code, as 32 hexadecimal digits.

    Parameters
    ----------
    task : str
        What `task_digest` gave.
    data_id_json : str
        The quantum's canonical data ID.
    terms : iterable of int
        What `input_term` gave for each input; summed modulo 2**128, so order does not matter
        and the sum can be taken in columns.
    """
    return digest128("recipe/1", task, data_id_json, f"{sum(terms) % MODULUS:032x}")


def actual_recipe(planned: str, deviations: Iterable[tuple[str, str, str, str]]) -> str:
    """Give A: the planned recipe, unless inputs were lost or themselves deviate.

    Parameters
    ----------
    planned : str
        P.
    deviations : iterable of (connection, data ID as JSON, state, A of the input or "")
        Inputs that are lost or blocked, or whose own actual recipe is not their planned one.
    """
    rows = sorted(deviations)
    return planned if not rows else digest128("deviates/1", planned, canonical_json(rows))


def seed_of(planned: str) -> int:
    """Give the random seed of a quantum, from its planned recipe: 0 <= seed < 2**32."""
    return int(planned[:8], 16)
