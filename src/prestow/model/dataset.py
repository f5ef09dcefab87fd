"""The nouns of identity: dataset types, datasets, artifacts; and the states of a quantum."""

from __future__ import annotations

from enum import StrEnum

from prestow.model.data_id import DataId
from prestow.model.frozen import frozen
from prestow.model.hashing import dataset_id

RAW_RUN = "raw-"
"""How the runs of raw data begin; the name of the instrument follows."""

EXTERNAL_RUN = "external-"
"""How the runs of foreign files begin; the name of the dataset type follows."""

ROOT_RUNS = (RAW_RUN, EXTERNAL_RUN)
"""How runs begin that nothing is planned into: what stands in them was taken in."""

COLUMN_TYPES = ("int32", "int64", "float32", "float64", "string", "bool")
"""What a declared column can hold, by Arrow's names."""


class State(StrEnum):
    """Where a quantum stands. The first four are settled: a receipt says so, for ever."""

    MADE = "made"
    DECLINED = "declined"  # rightfully nothing to make
    LOST = "lost"  # a failure sealed as tolerated
    BLOCKED = "blocked"  # cannot run, because something upstream was lost
    FAILED = "failed"  # no receipt, but a report of a failed attempt
    PENDING = "pending"  # no receipt, no report

    @property
    def settled(self) -> bool:
        """Whether this state is a receipt's."""
        return self in (State.MADE, State.DECLINED, State.LOST, State.BLOCKED)


@frozen
class DatasetType:
    """A kind of product.

    Parameters
    ----------
    name : str
        Unique in a registry; ``[a-z][a-z0-9_]*``.
    dimensions : tuple of str
        Required dimensions, closed and sorted by name; none is legal.
    format : str
        A name of the table of formats: ``fits``, ``json``, ``yaml`` …
    template : str
        Path template; empty for what prestow does not name (raw and foreign files).
    columns : tuple of (str, str)
        For tables: names and types, of `COLUMN_TYPES`, that every dataset must have; none: not said.
    calibration : bool
        Whether it is chosen by its validity at the moment of each quantum.
    certifies : tuple of (int, int) or None
        Of a calibration that a plan makes: the interval in which it is valid for others of that plan,
        half-open, in nanoseconds of TAI; None: at all times.
    """

    name: str
    dimensions: tuple[str, ...]
    format: str
    template: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    calibration: bool = False
    certifies: tuple[int, int] | None = None


@frozen
class Dataset:
    """One product: a dataset type, a data ID and a run.

    Examples
    --------
    >>> d = Dataset("bias", DataId({"instrument": "sim", "detector": 1}), "demo")
    >>> str(d), d.id
    ('bias{detector=1,instrument=sim}', 'ea49c55a-3728-50b9-9dcd-9f79a977abc2')
    """

    type: str
    data_id: DataId
    run: str

    @property
    def id(self) -> str:
        """The deterministic UUIDv5 of this dataset."""
        return dataset_id(self.type, self.run, self.data_id)

    def __lt__(self, other: Dataset) -> bool:
        return (self.type, self.data_id, self.run) < (other.type, other.data_id, other.run)

    def __str__(self) -> str:
        return f"{self.type}{{{self.data_id}}}"


@frozen
class Artifact:
    """A persisted dataset: where its bytes are and what they are.

    ``member`` is None for a whole file. ``size`` is in bytes; both digests are SHA-256 in
    hexadecimal: of the bytes, and of the content without the story.
    """

    store: str
    path: str
    size: int
    sha256: str
    content: str
    format: str
    member: str | None = None
