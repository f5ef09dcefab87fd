"""The engine that is this very process: one job after the other, in order; `pdb` works in a task."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from prestow.engines import Ended, JobSpec
from prestow.engines.calling import call_node


@dataclass(slots=True, eq=False)
class _Task:
    spec: JobSpec
    parents: Sequence[object]
    ended: Ended | None = None


def _host() -> str:
    from prestow.node.outcome import host_name

    return host_name()


@dataclass(slots=True)
class LocalEngine:
    """Runs jobs in process in the order in which they come; the oracle of the other engines.

    Hash seed, thread counts and time zone are those of this process, so where they matter to a
    task only equal content is promised.
    """

    name: str = "local"
    window: int = 64
    _queue: deque[_Task] = field(default_factory=deque)
    _drained: bool = False
    _held: set[str] = field(default_factory=set)
    _notes: dict[str, None] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What it could not do of what jobs were put back with."""
        return tuple(self._notes)

    def start(self) -> None:
        """Begin."""
        self._drained = False
        self._held, self._notes = set(), {}

    def submit(self, spec: JobSpec, parents: Sequence[object]) -> object:
        """Take a job; it runs in `wait`."""
        task = _Task(spec, parents)
        self._queue.append(task)
        if spec.memory:
            self._notes.setdefault(
                "memory is recorded only: engine local runs jobs in this process, as it is"
            )
        if spec.avoid and (host := _host()) in spec.avoid:
            self._notes.setdefault(
                f"host {host} is not avoided: engine local runs jobs here and nowhere else"
            )
        return task

    def wait(self, seconds: float) -> list[Ended]:  # noqa: ARG002 - it never waits, it works
        """Run the next job."""
        if not self._queue:
            return []
        task = self._queue.popleft()
        if self._drained or task.spec.label in self._held:
            task.ended = Ended(task, not_run=True)
        else:
            parents = [p.ended.result for p in task.parents if isinstance(p, _Task) and p.ended]
            result = call_node(task.spec.manifest, task.spec.receipts, parents)
            error = result.get("error", "")
            task.ended = Ended(task, error=error) if error else Ended(task, result=result)
        task.parents = ()
        return [task.ended]

    def drain(self) -> None:
        """Begin nothing more."""
        self._drained = True

    def hold(self, label: str) -> None:
        """Begin no more jobs of a label."""
        self._held.add(label)

    def close(self, *, cancel: bool = False) -> None:  # noqa: ARG002 - nothing is running here
        """Forget what waits."""
        self._queue.clear()
