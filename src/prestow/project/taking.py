"""Outputs of a project's runs taken in: once, or while the jobs run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.ingest.levels import Checking
from prestow.ingest.shards import Shard
from prestow.project.opened import STORE
from prestow.project.plans import run_of

if TYPE_CHECKING:
    from prestow.ingest import IngestReport, Level
    from prestow.registry import Registry
    from prestow.stores import Store


def take(
    registry: Registry,
    store: Store,
    runs: Sequence[str] | None,
    *,
    level: Level | str,
    processes: int | None,
    shard: str | None,
    reverify: bool,
    progress: Callable[[int, int], None] | None,
) -> IngestReport:
    """Take in once; parameters are those of `Project.ingest`."""
    from prestow.ingest import ingest_outputs

    return ingest_outputs(
        registry, store, runs=runs, level=str(Checking.of(level)), store_name=STORE, progress=progress, processes=processes,
        shard=Shard.of(shard) if shard else None, reverify=reverify,
    )  # fmt: skip


def take_while_it_runs(
    registry: Registry,
    store: Store,
    runs: Sequence[str] | None,
    directory: Path | None,
    *,
    level: Level | str,
    processes: int | None,
    shard: str | None,
    until_idle: float | None,
    told: Callable[[IngestReport], object] | None,
    before: Callable[[], object] = lambda: None,
) -> IngestReport:
    """Take in round after round; ``before`` each something is done.

    Without ``directory``, that of a plan, only ``until_idle`` and Ctrl-C end it. With it also that all
    quanta of the plan are settled, and that its run, once it was seen, has ended.

    Raises
    ------
    ProjectError
        PST-G005 if nothing would ever end it.
    """
    from prestow.ingest.following import follow
    from prestow.ingest.outputs import Taking

    if directory is None and until_idle is None:
        what = "without a plan nothing says when a run is over"
        raise ProjectError(Problem("PST-G005", what, "--follow", "add --until-idle SECONDS, or name a plan"))
    over: Callable[[], bool] = _Over(registry, directory) if directory is not None else lambda: False

    def settled() -> bool:
        answer = over()
        before()
        return answer

    taking = Taking(registry, store, level=level, store_name=STORE, processes=processes)
    with taking:
        return follow(
            taking, runs, settled=settled, until_idle=until_idle, shard=Shard.of(shard) if shard else None, told=told
        )  # fmt: skip


class _Over:
    """Says whether nothing more will come of a plan."""

    def __init__(self, registry: Registry, directory: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._registry = registry
        self._directory = directory
        self._run = run_of(directory)
        self._ids = pq.read_table(directory / "quanta.parquet", columns=["id"])["id"].cast(pa.binary())
        self._was_alive = False

    def __call__(self) -> bool:
        from prestow.engines.journal import is_locked

        alive = is_locked(self._directory)
        over = self._was_alive and not alive
        self._was_alive = self._was_alive or alive
        return over or self._all_settled()

    def _all_settled(self) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        there = self._registry.settled(self._run)["id"].cast(pa.binary())
        return bool(pc.all(pc.is_in(self._ids, there.combine_chunks())).as_py())
