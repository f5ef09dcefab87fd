"""What a project's `prestow.yaml` names, opened when it is needed, and its plans."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prestow.errors import PrestowError, ProjectError
from prestow.project import plans as plan_files
from prestow.project.configuration import Configuration, find_root, read_configuration

if TYPE_CHECKING:
    from prestow.instruments import Instrument
    from prestow.model.universe import Universe
    from prestow.pipeline.definition import Pipeline
    from prestow.plan import Plan
    from prestow.registry import Registry
    from prestow.registry.standing import Standing
    from prestow.registry.upgrading import Upgrade
    from prestow.stores import Store

STORE = "archive"
"""Name, in the registry and in plans, of the one store that raw frames and products go to."""


class OpenedProject:
    """One project. Whatever it opens stays open until `close`.

    Parameters
    ----------
    configuration : Configuration
        A checked ``prestow.yaml``.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.root = configuration.root

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Self:
        """Open the project at, or above, a directory.

        Raises
        ------
        ProjectError
            PST-G001 if there is none.
        ConfigurationError
            With every problem of its ``prestow.yaml``.
        """
        return cls(read_configuration(find_root(Path(path))))

    def close(self) -> None:
        """Close the registry; twice is fine."""
        if "registry" in self.__dict__:
            self.registry.close()
            del self.registry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def universe(self) -> Universe:
        """The dimensions."""
        from prestow.naming.universe import load_universe

        return load_universe(self.configuration.universe)

    @cached_property
    def registry(self) -> Registry:
        """The registry; PST-G002 if there is none yet."""
        return self._open_registry(create=False)

    @cached_property
    def store(self) -> Store:
        """The store that raw frames and products go to."""
        from prestow.stores import open_store

        return open_store(self.configuration.store)

    def stores(self) -> dict[str, str]:
        """Give the URI of every store, by name."""
        known = {name: uri for name, (uri, _) in self.registry.stores().items()}
        return {**known, STORE: self.configuration.store}

    def _stores_if_known(self) -> dict[str, str] | None:
        """Give the same, or None where there is no registry to ask."""
        try:
            return self.stores()
        except PrestowError:
            return None

    def load_pipeline(self, overrides: Sequence[str] = ()) -> Pipeline:
        """Load and check the pipeline, with ``task.key=value`` on top of its configuration."""
        from prestow.pipeline import load_pipeline
        from prestow.query import check_selection

        path = _as_typed(self.configuration.pipeline)
        return load_pipeline(path, self.universe, overrides=overrides, check_where=check_selection)

    def instrument(self, name: str) -> Instrument:
        """Give an instrument: one of the project's own files, or one that prestow ships."""
        from prestow.instruments import load_instrument

        own = {path.stem: path for path in self.configuration.instruments}
        return load_instrument(own.get(name, name))

    def _open_registry(self, *, create: bool) -> Registry:
        from prestow.registry import Registry

        registry = Registry.open(self.configuration.registry, self.universe, create=create)
        known = registry.stores().get(STORE)
        if known is not None and known[0] != self.configuration.store:
            registry.move_store(
                STORE, self.configuration.store
            )  # the project was moved, and its store with it
        return registry

    def _make_registry(self) -> Registry:
        if "registry" not in self.__dict__:
            self.registry = self._open_registry(create=True)
        return self.registry

    def registry_standing(self) -> Standing:
        """Say which database the registry is and how it stands; PST-G002 if there is none, or it does not answer."""
        from prestow.registry.standing import standing

        return standing(self.configuration.registry, self.universe)

    def upgrade_registry(self, *, dry_run: bool = False) -> Upgrade:
        """Make an old registry one of today's schema and universe, or say what that would be."""
        from prestow.registry.upgrading import upgrade

        self.close()
        return upgrade(self.configuration.registry, self.universe, dry_run=dry_run)

    @property
    def plans_directory(self) -> Path:
        """Where the plans are."""
        return self.root / "plans"

    def plans(self) -> tuple[str, ...]:
        """Give the ids of all plans, sorted."""
        return tuple(path.name for path in plan_files.plan_directories(self.plans_directory))

    def plans_like(self, text: str) -> tuple[Path, ...]:
        """Give the directories of the plans that a text may mean; none is fine."""
        return plan_files.matching(self.plans_directory, text)

    def plan_directory(self, text: str = plan_files.LATEST) -> Path:
        """Give the directory of a plan without opening it."""
        return plan_files.find_plan_directory(self.plans_directory, text)

    def newest_plan_directory(self) -> Path | None:
        """Give the directory of the plan that is meant where none is said; None if there is none, or no telling."""
        try:
            return plan_files.find_plan_directory(self.plans_directory, plan_files.LATEST)
        except ProjectError:
            return None

    def find_plan(self, text: str | os.PathLike[str] = plan_files.LATEST) -> Plan:
        """Open the plan of that id, beginning of an id, or path; the newest by default."""
        from prestow.plan import open_plan

        return open_plan(plan_files.find_plan_directory(self.plans_directory, os.fspath(text)))

    def _plan(self, plan: Plan | str | os.PathLike[str]) -> Plan:
        return self.find_plan(plan) if isinstance(plan, str | os.PathLike) else plan

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def _as_typed(path: Path) -> Path:
    """Give a path as a person here would write it: errors point at it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
