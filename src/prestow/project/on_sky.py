"""What can be done with the sky of a project: sky maps registered, footprints related, overlaps looked up."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.project.calibrating import ProjectWithCalibrations

if TYPE_CHECKING:
    from prestow.pipeline.definition import Pipeline
    from prestow.registry.relating import Related
    from prestow.results.overlapping import Overlaps
    from prestow.sky.skymap import SkyMap

SHARDS = "healpix_5"
"""The name under which relating with shards is told."""


class ProjectWithSky(ProjectWithCalibrations):
    """A project, and its sky maps."""

    def register_skymap(self, path: str | os.PathLike[str]) -> tuple[SkyMap, bool]:
        """Make the sky map of a file known; give it, and whether it is new.

        Raises
        ------
        ConfigurationError
            With every problem of the file; PST-S001 if the map has a hole.
        ProjectError
            PST-S003 if another map has its name.
        """
        from prestow.registry.relating import register_skymap
        from prestow.sky.reading import load_skymap

        skymap = load_skymap(Path(path))
        return skymap, register_skymap(self._make_registry(), self.store, skymap)

    def skymaps(self) -> tuple[SkyMap, ...]:
        """Give the registered sky maps, by name."""
        from prestow.sky.reading import skymap_from_text

        return tuple(skymap_from_text(text) for text in self.registry.on_sky.skymaps().values())

    def relate(
        self, skymap: str | None = None, *, progress: Callable[[int, int], None] | None = None
    ) -> Mapping[str, Related]:
        """Compute overlaps of all footprints that are new, with a sky map (or all) and with shards.

        Returns
        -------
        mapping of sky map, or ``healpix_5``, to Related
        """
        from prestow.results.overlapping import the_skymap

        maps = self.skymaps() if skymap is None else (the_skymap(self.registry, skymap),)
        found = {one.name: self._relate(one, progress) for one in maps}
        return {**found, SHARDS: self._relate(None, progress)}

    def _relate(self, skymap: SkyMap | None, progress: Callable[[int, int], None] | None = None) -> Related:
        from prestow.registry.relating import put_related, relate

        put_related(self.registry, self.store, skymap)
        return relate(self.registry, skymap, progress)

    def overlap(
        self,
        *,
        skymap: str | None = None,
        tract: int | None = None,
        patch: str | int | None = None,
        visit: int | None = None,
        detector: int | None = None,
        instrument: str | None = None,
        band: str | None = None,
        padding: str = "0 deg",
    ) -> Overlaps:
        """Give what lies on a patch or tract, or which patches a visit lies on; what is new is related first.

        Parameters
        ----------
        patch : str or int
            ``x,y``, or its number.
        padding : str
            An angle with its unit: so far apart they may lie.

        Raises
        ------
        ProjectError
            PST-G005 if neither or both of tract and visit are given, PST-S004, PST-S008.
        """
        from prestow.results.overlapping import of_visit, on_patch, the_skymap
        from prestow.sky.angles import HELP, read_angle

        if (tract is None) == (visit is None):
            what = "an overlap is of a tract or of a visit"
            fix = "prestow overlap --tract T [--patch X,Y], or prestow overlap --visit V"
            raise ProjectError(Problem("PST-G005", what, fix=fix))
        if (patch is not None and tract is None) or (detector is not None and visit is None):
            what = "--patch goes with --tract, and --detector with --visit"
            raise ProjectError(Problem("PST-G005", what, fix="give both, or leave one out"))
        try:
            apart = read_angle(padding)
        except ValueError as error:
            raise ProjectError(Problem("PST-G005", str(error), "--padding", HELP)) from error
        on = the_skymap(self.registry, skymap)
        self._relate(on)
        if tract is not None:
            found = on_patch(self.registry, on, tract, patch, padding=apart, band=band)
        else:
            assert visit is not None
            found = of_visit(
                self.registry, on, visit, detector=detector, instrument=instrument, padding=apart, band=band
            )
        return found

    def _relate_for(self, pipeline: Pipeline) -> None:
        """Bring overlaps up to date that tasks of a pipeline may be joined by."""
        names = {
            name
            for dimensions in (
                *(t.dimensions for t in pipeline.tasks), *(t.dimensions for t in pipeline.dataset_types.values()),
            )
            for name in dimensions
        }  # fmt: skip
        if "sky_overlap" in self.universe.relations and "tract" in names:
            for skymap in self.skymaps():
                self._relate(skymap)
        if "shard_overlap" in self.universe.relations and SHARDS in names:
            self._relate(None)
