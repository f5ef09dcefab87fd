"""The papers between the two sides: manifest, receipt and attempt report, versioned JSON.

Owns what a job is told (manifest), what a settled quantum leaves behind (receipt) and what an
attempt went through (report). Serves the planner, the engines, the node and ingest. Never opens a
store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from prestow.model.frozen import frozen

MANIFEST_SCHEMA = "prestow.manifest/1"
RECEIPT_SCHEMA = "prestow.receipt/1"
REPORT_SCHEMA = "prestow.report/1"

LAYOUTS = ("tree", "flat", "tar")
"""How inputs are laid out for a job: a tree, all in one directory, or a tar of what only it reads."""

FLAT = "flat"
"""The layout in which all lie in one directory, and logical names are flat, too."""

CARRIED = "_carried"
"""Name of the store that is the job's working directory; its URI is known there only."""

RECIPE = 32
"""Digits of a recipe."""

Values = Mapping[str, str | int]


@frozen
class ManifestInput:
    """One input dataset of a job.

    ``sha256`` (with ``size``, ``content``) is there for what existed when the plan was made, and
    None for what the plan makes: then ``receipt`` names the producer's receipt, and the bytes are
    those it commits to. ``recipe`` is the planned recipe of a planned input, the actual one of an
    existing product, and the content digest (first 32 digits) of a root. ``receipt`` is also there
    for existing products that prestow made (it gives their roots).
    """

    id: str
    type: str
    data_id: Values
    run: str
    format: str
    recipe: str
    local: str
    producer: str | None = None
    receipt: str | None = None
    size: int | None = None
    sha256: str | None = None
    content: str | None = None
    member: str | None = None


@frozen
class ManifestOutput:
    """One planned output: ``path`` in the output store, ``local`` in the local repository.

    ``columns``, of a table, are the names and types that it must have, if any are declared.
    """

    id: str
    type: str
    data_id: Values
    format: str
    path: str
    local: str
    columns: tuple[tuple[str, str], ...] = ()


def needed(minimum: str | float, planned: int) -> int:
    """Give how many of the planned inputs of a connection must be there.

    Examples
    --------
    >>> needed("all", 3), needed(1, 3), needed(0.5, 3), needed(0, 3)
    (3, 1, 2, 0)
    """
    if isinstance(minimum, str):
        return planned
    if isinstance(minimum, float) and 0 < minimum < 1:
        return math.ceil(minimum * planned - 1e-9)  # 0.1 of 30 is 3, not 4
    return int(minimum)


@frozen
class Connection:
    """Which datasets a quantum has under one name: indices into the manifest's inputs or outputs.

    ``minimum`` (inputs) is ``"all"``, a number, or a fraction below 1 of those planned;
    ``optional`` is for outputs.
    """

    datasets: tuple[int, ...]
    minimum: str | int | float = "all"
    optional: bool = False

    def met(self, made: int) -> bool:
        """Whether so many made inputs are enough."""
        return made >= needed(self.minimum, len(self.datasets))


@frozen
class ManifestQuantum:
    """One task on one data ID."""

    id: str
    task: str
    data_id: Values
    recipe: str
    receipt: str
    inputs: Mapping[str, Connection]
    outputs: Mapping[str, Connection]
    entry: str | None = None  # "module:function", or
    command: tuple[str, ...] | None = None  # words with {inputs.x}, {outputs.y}, {config.k} …
    config_class: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)  # Any: whatever JSON holds
    tolerate: bool = False
    ignore: tuple[str, ...] = ()
    prototypes: tuple[str, ...] = ()  # of config, metadata, log, environment: outputs the node itself writes
    # the dataset of prototype p is the output connection named "_p"


@frozen
class Code:
    """The workflow's code: a deterministic zip in a store, named by its digest."""

    sha256: str
    store: str
    path: str
    size: int


@frozen
class Location:
    """Where an existing input lies: a store's name and the path in it."""

    store: str
    path: str


@frozen
class Manifest:
    """All that one job needs to know. The site part is ``store``, ``stores`` and ``locations``.

    Parameters
    ----------
    job, plan, run : str
        Names; the plan id is information for people and never enters a product.
    quanta, inputs, outputs : tuple
        In the order of the plan: a quantum stands after those of this job that it needs.
    store : str
        Name of the store that outputs go to.
    stores : mapping of name to URI
        Every store this job needs.
    locations : mapping of dataset id to Location
        For inputs with a ``sha256``, and for those that the plan makes where somebody brought them.
    layout : str
        One of `LAYOUTS`. In ``tar`` the path of a Location may be ``NAME.tar#MEMBER``. It stands in the
        document only where it is not ``tree``.
    """

    job: str
    plan: str
    run: str
    quanta: tuple[ManifestQuantum, ...]
    inputs: tuple[ManifestInput, ...]
    outputs: tuple[ManifestOutput, ...]
    store: str
    stores: Mapping[str, str]
    locations: Mapping[str, Location] = field(default_factory=dict)
    code: Code | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)  # Any: whatever JSON holds
    layout: str = LAYOUTS[0]

    def to_json(self) -> str:
        """Give the canonical JSON; `from_json` reads it back."""
        return _text(self, MANIFEST_SCHEMA)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError
            If the schema is another one, or the document is not a manifest.
        """
        d = json.loads(text)
        if not isinstance(d, dict) or d.pop("schema", None) != MANIFEST_SCHEMA:
            raise ValueError(f"not a manifest of schema {MANIFEST_SCHEMA}")
        return cls.of(d)

    @classmethod
    def of(cls, d: dict[str, Any]) -> Manifest:  # Any: parsed JSON
        """Give the manifest of which these are the plain values.

        Raises
        ------
        ValueError
            If they are not a manifest.
        """
        try:
            return cls(
                job=d["job"],
                plan=d["plan"],
                run=d["run"],
                store=d["store"],
                stores=d["stores"],
                resources=d["resources"],
                quanta=tuple(
                    ManifestQuantum(
                        **{
                            **q,
                            "inputs": {n: _connection(c) for n, c in q["inputs"].items()},
                            "outputs": {n: _connection(c) for n, c in q["outputs"].items()},
                            "command": None if q["command"] is None else tuple(q["command"]),
                            "ignore": tuple(q["ignore"]),
                            "prototypes": tuple(q["prototypes"]),
                        }
                    )
                    for q in d["quanta"]
                ),
                inputs=tuple(ManifestInput(**i) for i in d["inputs"]),
                outputs=tuple(_output(o) for o in d["outputs"]),
                locations={k: Location(**v) for k, v in d["locations"].items()},
                code=None if d["code"] is None else Code(**d["code"]),
                layout=d.get("layout", LAYOUTS[0]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def _output(o: dict[str, Any]) -> ManifestOutput:  # Any: parsed JSON
    if "columns" in o:
        o["columns"] = tuple((name, kind) for name, kind in o["columns"])
    return ManifestOutput(**o)


def _connection(c: dict[str, Any]) -> Connection:  # Any: parsed JSON
    return Connection(tuple(c["datasets"]), c["minimum"], c["optional"])


def _text(paper: Manifest | Receipt, schema: str) -> str:
    """Give canonical JSON, as `canonical_json` of the same plain values; the encoder asks for the rest."""
    values = {name: getattr(paper, name) for name in paper.__dataclass_fields__}
    if isinstance(paper, Receipt) and not paper.adopted:
        del values["adopted"]
    if isinstance(paper, Manifest) and paper.layout == LAYOUTS[0]:
        del values["layout"]
    return _ENCODER.encode({"schema": schema, **values})


def _plain(value: object) -> object:
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        plain = {name: getattr(value, name) for name in fields}
        if type(value) is ManifestOutput and not value.columns:
            del plain["columns"]
        if type(value) is ReceiptOutput and value.metrics is None:
            del plain["metrics"]
        return plain
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot stand in a manifest or receipt")


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
)


@frozen
class ReceiptInput:
    """One planned input of a settled quantum, as it really was."""

    connection: str
    id: str
    type: str
    data_id: Values
    run: str
    state: str  # made | declined | lost | blocked
    code: str | None  # why not made: the decline's code, or None
    sha256: str | None
    planned_recipe: str
    actual_recipe: str | None


@frozen
class ReceiptOutput:
    """One planned output of a settled quantum: made (with aside and digests) or declined.

    ``metrics`` are those of a document, by name, so that they are known without its file; None where
    the format has none, or nobody looked.
    """

    id: str
    type: str
    data_id: Values
    format: str
    path: str
    state: str
    aside: str | None = None
    size: int | None = None
    sha256: str | None = None
    content: str | None = None
    metrics: Mapping[str, float] | None = None


@frozen
class Root:
    """A raw or foreign dataset that a product goes back to."""

    type: str
    data_id: Values
    id: str


@frozen
class Receipt:
    """The commit of one quantum: put if absent, never changed.

    ``attempt`` is the execution that won, or None where a ``sealer`` (``engine``) settled it.
    ``reason`` is free text for people and stands nowhere else. ``version`` is the digest of the
    code. ``roots`` are those of the inputs really used. ``adopted`` says that it was written from the
    stories of files that had no receipt; it stands in the document only where it is true.
    """

    quantum: str
    task: str
    run: str
    data_id: Values
    job: str
    state: str
    planned_recipe: str
    actual_recipe: str | None
    attempt: str | None = None
    sealer: str | None = None
    code: str | None = None
    reason: str | None = None
    version: str | None = None
    inputs: tuple[ReceiptInput, ...] = ()
    outputs: tuple[ReceiptOutput, ...] = ()
    roots: tuple[Root, ...] = ()
    measures: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    adopted: bool = False

    def to_json(self) -> str:
        """Give the canonical JSON; `from_json` reads it back."""
        return _text(self, RECEIPT_SCHEMA)

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError
            If the document is not a receipt of this schema.
        """
        d = json.loads(text)
        if not isinstance(d, dict) or d.pop("schema", None) != RECEIPT_SCHEMA:
            raise ValueError(f"not a receipt of schema {RECEIPT_SCHEMA}")
        try:
            return cls(
                **{
                    **d,
                    "inputs": tuple(ReceiptInput(**i) for i in d["inputs"]),
                    "outputs": tuple(ReceiptOutput(**o) for o in d["outputs"]),
                    "roots": tuple(Root(**r) for r in d["roots"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a receipt: {error}") from error
