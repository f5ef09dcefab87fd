"""What a pipeline is, once loaded and checked: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from prestow.model import DatasetType

RESOURCES = ("memory", "cores", "disk", "walltime")
HINTS = ("cpu_seconds", "output_bytes")


class OnFailure(StrEnum):
    """What the engine does when the tries of a quantum are spent."""

    STOP = "stop"  # it stays failed; what needs it does not run
    TOLERATE = "tolerate"  # it is sealed as lost, where its consumers can do without it


@dataclass(frozen=True, slots=True)
class InputConnection:
    """What a task reads under one name.

    ``minimum`` is ``"all"``, a number, or a fraction below 1 of those planned; 0 is optional.
    ``where`` is a selection over the input's dimensions and metadata. ``padding`` is how far apart, in
    degrees, the two sides of a relation on the sky may lie. A ``prerequisite`` does not say which
    quanta there are: each needs it, and one without it must be waived.
    """

    name: str
    type: str
    minimum: str | int | float = "all"
    where: str = ""
    padding: float = 0.0
    prerequisite: bool = False


RETAIN = ("until_consumed", "run", "release")
"""How long files are kept: until all that reads them is settled and taken in; until their run is closed; for ever."""


@dataclass(frozen=True, slots=True)
class OutputConnection:
    """What a task writes under one name.

    What is not ``retained`` is made for those that read it: when none of them has to run, it need not be
    made, see `prestow.plan.retaining`. ``retain`` says how long its files are kept once they are there: one of
    `RETAIN`; what goes when it is consumed is not ``retained``.
    """

    name: str
    type: str
    optional: bool = False
    retained: bool = True
    retain: str = RETAIN[-1]


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A step that declares what it reads and writes.

    Parameters
    ----------
    label : str
        Its name in the pipeline.
    dimensions : tuple of str
        Closed, sorted.
    entry : str or None
        ``module:function`` in the workflow's code.
    command : tuple of str or None
        Words with ``{inputs.x}``, ``{outputs.y}``, ``{config.k}``, ``{data_id.d}``, ``{seed}``, ``{code}``.
    config_class : str or None
        Name of the configuration dataclass in the entry's module.
    config : mapping
        Resolved: every field with its value. Plain JSON values.
    config_origin : mapping
        For each field where its value came from: ``default``, ``file:line`` or ``--set``.
    origin : mapping
        For each key that is said of the task its ``file:line``: in the pipeline, or beside the code.
    preflight : str
        ``module:function`` in the workflow's code: the hook that vetoes quanta and trims what they read,
        or empty.
    barrier : bool
        It is planned only when all that it reads is made and taken in, see `prestow.plan.stages`.
    prototypes : tuple of str
        Of ``config``, ``metadata``, ``log``, ``environment``: extra outputs that the node itself writes, under
        connections ``_config`` … and dataset types ``<label>_config`` …
    """

    label: str
    dimensions: tuple[str, ...]
    inputs: tuple[InputConnection, ...]
    outputs: tuple[OutputConnection, ...]
    entry: str | None = None
    command: tuple[str, ...] | None = None
    config_class: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    config_origin: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    on_failure: OnFailure = OnFailure.STOP
    tries: int = 1
    ignore: tuple[str, ...] = ()
    prototypes: tuple[str, ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)  # memory, disk (bytes), cores, walltime (s)
    hints: Mapping[str, float] = field(default_factory=dict)  # cpu_seconds, output_bytes a quantum
    expressions: Mapping[str, str] = field(default_factory=dict)  # those that depend on the quantum
    origin: Mapping[str, str] = field(default_factory=dict)
    preflight: str = ""
    barrier: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """Quanta that run together in one job: those of these tasks with equal dimension values.

    With ``maximum`` up to so many such groups, in the order of their data IDs, share a job; 0 says
    that only ``limits`` count: so much a job has at most of ``quanta``, ``inputs``, ``cpu_seconds`` and
    ``bytes``, by what its resources and hints say.
    """

    name: str
    tasks: tuple[str, ...]
    dimensions: tuple[str, ...]
    maximum: int = 1
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodeBundle:
    """The workflow's code as a deterministic zip: its bytes and their SHA-256."""

    data: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Tasks joined by dataset types, in an order in which each stands after what it reads.

    ``dataset_types`` holds every type that is read or written, prototypes expanded; those read and
    never written are external (they must exist): their template is empty.
    """

    name: str
    source: str
    tasks: tuple[TaskDefinition, ...]
    dataset_types: Mapping[str, DatasetType]
    clusters: tuple[Cluster, ...] = ()
    code: CodeBundle | None = None

    def task(self, label: str) -> TaskDefinition:
        """Give the task of that label.

        Raises
        ------
        KeyError
            If there is none.
        """
        return next((t for t in self.tasks if t.label == label), None) or _missing(label)

    def producers(self) -> dict[str, str]:
        """Give, for each dataset type that is written, the label of its task."""
        return {o.type: t.label for t in self.tasks for o in t.outputs}


def _missing(label: str) -> TaskDefinition:
    raise KeyError(label)
