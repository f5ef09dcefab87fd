"""A part of a project as a project of its own, for who develops: the source is only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError
from prestow.project.opened import STORE
from prestow.project.setting_up import set_up
from prestow.stores import open_store

if TYPE_CHECKING:
    from prestow.ingest.merging import Merged
    from prestow.project.afterwards import ProjectWithResults
    from prestow.results.subsetting import Part

RUN = "dev"
CHAIN = "dev.first"


@dataclass(frozen=True, slots=True)
class Subset:
    """What making a part came to.

    Parameters
    ----------
    directory : str
        The new project.
    part : Part
        What was chosen.
    merged : Merged
        What was taken, with the other outputs of quanta of which something was chosen.
    chain : str
        In which the developer's own run comes before all others.
    """

    directory: str
    part: Part
    merged: Merged
    chain: str = CHAIN

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "directory": self.directory, "runs": list(self.part.runs), "types": self.part.types, "size": self.part.size,
            "notes": list(self.part.notes), "chain": self.chain, "run": RUN, **self.merged.as_dict(),
        }  # fmt: skip


def make_subset(
    project: ProjectWithResults,
    collections: Sequence[str],
    into: str,
    *,
    where: str = "",
    types: Sequence[str] = (),
    link: bool = True,
    dry_run: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Subset:
    """Make a project of a part of another one; see `Project.subset`."""
    from prestow.ingest.merging import merge
    from prestow.ingest.merging_records import Wanted
    from prestow.project.project import Project
    from prestow.registry import Registry
    from prestow.registry.chaining import put_in_front
    from prestow.results.datasets import Sources
    from prestow.results.subsetting import choose

    target = Path(into).absolute()
    if target.exists() and any(target.iterdir()) and not (target / "prestow.yaml").exists():
        what = "the directory is neither empty nor a subset"
        raise ProjectError(Problem("PST-B004", what, str(target), "name a directory that is not there yet"))
    if target.resolve() == project.root.resolve():
        raise ProjectError(
            Problem("PST-B004", "it is the project itself", str(target), "name another directory")
        )
    with Registry.open(project.configuration.registry, project.universe, read_only=True) as registry:
        stores = {name: uri for name, (uri, _) in registry.stores().items()}
        sources = Sources(
            project.universe, registry, (), STORE, {**stores, STORE: project.configuration.store}
        )
        part = choose(sources, registry, project.store, collections, where, types)
    wanted = Wanted(part.receipts, part.datasets, frozenset(part.runs))
    if dry_run:
        place = open_store(f"file://{target}/store")
        return Subset(
            into, part, merge([project.store], place, store_name=STORE, dry_run=True, wanted=wanted)
        )
    made = set_up(target, project.configuration, comment=f"a part of {project.root}")
    place = open_store(made.store)
    merged = merge([project.store], place, store_name=STORE, link=link, wanted=wanted, progress=progress)
    with Project(made) as own:
        own.rebuild(resume=True)
        own.registry.register_runs([RUN, *part.runs])
        put_in_front(own.registry, own.store, CHAIN, [RUN, *part.runs])
    return Subset(into, part, merged)
