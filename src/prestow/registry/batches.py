"""What goes into a registry at once, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class DatasetBatch:
    """Rows for one transaction. Columns not given are null; ids and recipes are 16 bytes.

    Parameters
    ----------
    datasets : mapping of dataset type to table
        One column per required dimension, and ``id, run, recipe, planned_recipe, quantum``. For a
        root, ``recipe`` is the first half of its content digest and the last two are null. The
        order of types is that of their sequence numbers: give parents first.
    artifacts : table
        ``dataset, store, path, member, size, sha256, content, format``; digests as 64 digits.
    quanta : table, optional
        ``id, run, task, data_id, job, state, code, planned_recipe, actual_recipe, attempt,
        sealer, version, receipt``; data ID as canonical JSON.
    quantum_inputs : table, optional
        ``quantum, connection, input, state, code, sha256, planned_recipe, actual_recipe``.
    metrics : table, optional
        ``dataset, name, value``, of datasets of this batch; they come and go with these.
    elsewhere : table, optional
        ``dataset, sha256`` of what is committed and has no row here: deleted, or found faulty. What was
        made from other bytes of it is contradictory.
    """

    datasets: Mapping[str, pa.Table]
    artifacts: pa.Table | None = None
    quanta: pa.Table | None = None
    quantum_inputs: pa.Table | None = None
    metrics: pa.Table | None = None
    elsewhere: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A row that disagrees with a committed one: nothing was changed for it."""

    id: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Inserted:
    """What a batch came to: rows added, datasets present before, deleted ones left out."""

    datasets: int = 0
    present: int = 0
    deleted: int = 0
    artifacts: int = 0
    quanta: int = 0
    contradictory: tuple[Contradiction, ...] = field(default=())
