"""Run a plan somewhere: the local process, or Dask.

Owns the one loop that decides which job runs when, what is tried again, what is sealed as lost, and
the engines that carry jobs for it. Serves the project. Never decides what a quantum's state is: a
receipt does.

An engine carries one call, *run this manifest*, and brings back what the node said. It knows
nothing of plans. Adding one is a class of this protocol and a line in `prestow.plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prestow.plugins import load


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One try of one job, as an engine gets it.

    ``key`` is unique over all tries of all submissions. ``receipts`` are texts of receipts of
    outside inputs that are known already; the node reads the others from the store. Jobs of one
    ``label`` do the same thing; ``again`` says that it was tried before. Of those that could run the
    larger ``priority`` comes first. A job that was put back may want so much ``memory`` (bytes, 0 if
    nothing was said) and ``avoid`` hosts.
    """

    key: str
    job: str
    manifest: str
    receipts: tuple[str, ...] = ()
    label: str = ""
    again: bool = False
    priority: int = 0
    memory: int = 0
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one try: exactly one of a result, an error, a lost worker, or not run.

    Parameters
    ----------
    handle : object
        What `Engine.submit` gave.
    result : mapping
        What `prestow.node.run_manifest_json` gave; empty if there is none.
    error : str
        The node itself raised, which it does for no failure of a task.
    lost : str
        The worker vanished under this very job.
    not_run : bool
        It never began: drained, or a job before it was lost.
    """

    handle: object
    result: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    error: str = ""
    lost: str = ""
    not_run: bool = False


class Engine(Protocol):
    """Carries jobs. Used by one thread; `start` and `close` may be called twice.

    An engine may also have ``hold(label)``: begin no more jobs of that label, those that it has end as
    not run; ``avoid(host)``: the same for a host, True if there are others; and ``notes``, texts for
    people, which it may add to while it runs.
    """

    name: str

    @property
    def window(self) -> int:
        """How many jobs to have under way at once, waiting ones included; may change as it learns."""

    def start(self) -> None:
        """Begin; workers are started here and not before."""

    def submit(self, spec: JobSpec, parents: Sequence[object]) -> object:
        """Take a job; it starts when its parents, handles still under way, have ended in any way.

        Their results are handed to the node as receipts.
        """

    def wait(self, seconds: float) -> list[Ended]:
        """Give what has ended; wait at most so long for the first."""

    def drain(self) -> None:
        """Begin nothing more. What has begun goes on, the rest ends as not run."""

    def close(self, *, cancel: bool = False) -> None:
        """Release everything; with ``cancel`` also what is running."""


def open_engine(name: str, **options: Any) -> Engine:
    """Make the engine of that name; an unknown one lists what there is."""
    result: Engine = load("engines", name)(**options)
    return result
