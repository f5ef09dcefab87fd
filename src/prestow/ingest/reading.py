"""Receipts read in bulk: typed by the reader itself, data IDs known by their bytes.

Owns reading receipts where there are very many. `prestow.manifest.Receipt` is the same document for all
others; a test holds the two to the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from prestow.manifest import RECEIPT_SCHEMA
from prestow.model.hashing import canonical_json

_MOST_KNOWN: Final = 4096
_LARGEST: Final = 1 << 63
_NONE: Final = msgspec.Raw(b"null")

Value = int | str


class TypedInput(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """As `prestow.manifest.ReceiptInput`."""

    connection: str
    id: str
    type: str
    data_id: msgspec.Raw
    run: str
    state: str
    code: str | None
    sha256: str | None
    planned_recipe: str
    actual_recipe: str | None


class TypedOutput(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """As `prestow.manifest.ReceiptOutput`."""

    id: str
    type: str
    data_id: msgspec.Raw
    format: str
    path: str
    state: str
    aside: str | None = None
    size: int | None = None
    sha256: str | None = None
    content: str | None = None
    metrics: msgspec.Raw = _NONE


class TypedRoot(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """As `prestow.manifest.Root`."""

    type: str
    data_id: msgspec.Raw
    id: str


class TypedReceipt(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """As `prestow.manifest.Receipt`; what is free there is not looked at here."""

    schema: str
    quantum: str
    task: str
    run: str
    data_id: msgspec.Raw
    job: str
    state: str
    planned_recipe: str
    actual_recipe: str | None
    attempt: str | None = None
    sealer: str | None = None
    code: str | None = None
    reason: str | None = None
    version: str | None = None
    inputs: tuple[TypedInput, ...] = ()
    outputs: tuple[TypedOutput, ...] = ()
    roots: tuple[TypedRoot, ...] = ()
    measures: msgspec.Raw = msgspec.Raw(b"{}")
    adopted: bool = False


class Known(NamedTuple):
    """A data ID as it is needed again and again.

    Parameters
    ----------
    text : str
        Canonical JSON.
    pairs : str
        ``,k=v,k=v``, as it stands in the text of an id.
    dimensions : tuple of str
        Sorted.
    values : tuple
        In their order.
    strange : tuple of str
        Dimensions that do not fit the universe.
    """

    text: str
    pairs: str
    dimensions: tuple[str, ...]
    values: tuple[Value, ...]
    strange: tuple[str, ...]


_receipt = msgspec.json.Decoder(TypedReceipt).decode
_plain = msgspec.json.Encoder(order="sorted").encode
_values = msgspec.json.Decoder(dict[str, Any]).decode  # Any: whatever stands there


def typed(data: bytes) -> TypedReceipt:
    """Give a receipt.

    Raises
    ------
    ValueError
        If it is none, or has a text that no database takes.

    Examples
    --------
    >>> typed(b"{}")
    Traceback (most recent call last):
        ...
    ValueError: Object missing required field `schema`
    """
    try:
        receipt = _receipt(data)
        if b"\\u" in data:
            _check_texts(canonical_json(msgspec.json.decode(data)))
    except (msgspec.MsgspecError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(what) from error
    if receipt.schema != RECEIPT_SCHEMA:
        raise ValueError(f"not a receipt of schema {RECEIPT_SCHEMA}")
    return receipt


class DataIds:
    """Data IDs by their bytes; the last few thousand are kept.

    Parameters
    ----------
    numbers : mapping of str to bool
        The dimensions of the universe, and whether their values are numbers.
    """

    def __init__(self, numbers: Mapping[str, bool]) -> None:
        self._numbers = numbers
        self._known: dict[bytes, Known] = {}

    def __call__(self, raw: msgspec.Raw) -> Known:
        """Give a data ID.

        Raises
        ------
        ValueError
            If it is none.
        """
        data = bytes(raw)
        known = self._known.get(data)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[data] = self._read(data)
        return known

    def _read(self, data: bytes) -> Known:
        try:
            values: dict[str, Any] = _values(data)  # Any: numbers or texts
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a data ID: {error}") from error
        dimensions = tuple(sorted(values))
        return Known(
            data.decode() if b"\\" not in data and _plain(values) == data else canonical_json(values),
            "".join([f",{name}={values[name]}" for name in dimensions]),
            dimensions,
            tuple([values[name] for name in dimensions]),
            tuple([name for name in dimensions if not self._fits(name, values[name])]),
        )

    def _fits(self, name: str, value: Value) -> bool:
        number = self._numbers.get(name)
        if number is None:
            return False
        return (
            -_LARGEST <= value < _LARGEST
            if number and type(value) is int
            else type(value) is str and not number
        )


def _check_texts(text: str) -> None:
    """Refuse JSON with texts that no database takes: NUL, and halves of characters."""
    text.encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("there is a NUL in a text")
