"""What lies on what: the visits on a patch, the patches under a visit, from overlaps that were computed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from prestow.errors import Problem, ProjectError
from prestow.registry import Registry
from prestow.registry.relating import OVERLAP
from prestow.sky.angles import angle_text
from prestow.sky.reading import skymap_from_text
from prestow.sky.skymap import SkyMap


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pairs of a visit's detector and a patch.

    Parameters
    ----------
    skymap : SkyMap
        On which map.
    frame : DataFrame
        ``instrument, visit, detector, tract, patch, separation``, and ``band`` and ``exposures`` (how many raw
        frames); sorted.
    """

    skymap: SkyMap
    frame: pl.DataFrame

    def visits(self) -> int:
        """Give how many visits there are."""
        return self.frame.select("instrument", "visit").n_unique()

    def patches(self) -> int:
        """Give how many patches there are."""
        return self.frame.select("tract", "patch").n_unique()


def the_skymap(registry: Registry, name: str | None) -> SkyMap:
    """Give the sky map of that name, or the only one.

    Raises
    ------
    ProjectError
        PST-S004 if there is none such, or several and none is named.
    """
    known = registry.on_sky.skymaps()
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name in known:
        return skymap_from_text(known[name])
    if name is None:
        what = "several sky maps are registered" if known else "no sky map is registered"
        fix = f"name one: --skymap {next(iter(known))}" if known else "prestow skymap register FILE"
    else:
        what = f"there is no sky map '{name}'"
        near = difflib.get_close_matches(name, known, 1)
        fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
    raise ProjectError(Problem("PST-S004", what, "sky maps", fix))


def on_patch(
    registry: Registry,
    skymap: SkyMap,
    tract: int,
    patch: str | int | None,
    *,
    padding: float,
    band: str | None,
) -> Overlaps:
    """Give what lies on a patch, or on all of a tract.

    Raises
    ------
    ProjectError
        PST-S004 if the map has no such tract or patch, PST-S008 if it was not computed that far out.
    """
    if skymap.centre(tract) is None:
        what = f"the sky map '{skymap.name}' has no tract {tract}"
        fix = f"its tracts are {skymap.tracts.min()} to {skymap.tracts.max()}: prestow skymap show {skymap.name}"
        raise ProjectError(Problem("PST-S004", what, "--tract", fix))
    equal: list[tuple[str, str | int]] = [("skymap", skymap.name), ("tract", tract)]
    if patch is not None:
        number = skymap.patch_number(patch)
        if number is None:
            what = f"a tract of '{skymap.name}' has no patch {patch}"
            fix = f"write x,y with x below {skymap.columns} and y below {skymap.rows}, or a number below {skymap.patches}"
            raise ProjectError(Problem("PST-S004", what, "--patch", fix))
        equal.append(("patch", number))
    return _found(registry, skymap, equal, padding, band)


def of_visit(
    registry: Registry,
    skymap: SkyMap,
    visit: int,
    *,
    detector: int | None,
    instrument: str | None,
    padding: float,
    band: str | None,
) -> Overlaps:
    """Give the patches that a visit, or one detector of it, lies on."""
    equal: list[tuple[str, str | int]] = [("skymap", skymap.name), ("visit", visit)]
    equal += [("detector", detector)] if detector is not None else []
    equal += [("instrument", instrument)] if instrument is not None else []
    return _found(registry, skymap, equal, padding, band)


def _found(
    registry: Registry, skymap: SkyMap, equal: list[tuple[str, str | int]], padding: float, band: str | None
) -> Overlaps:
    if padding > skymap.padding:
        what = f"separations on '{skymap.name}' are known up to {angle_text(skymap.padding)}, not {angle_text(padding)}"
        fix = "take less, or register a map of another name with a larger 'padding'"
        raise ProjectError(Problem("PST-S008", what, "--padding", fix))
    frame = _frame(registry.on_sky.overlaps(OVERLAP, equal, padding))
    visits = _frame(registry.dimension_records("visit")).select("instrument", "visit", "physical_filter")
    filters = _frame(registry.dimension_records("physical_filter")).select(
        "instrument", "physical_filter", "band"
    )
    bands = visits.join(filters, on=["instrument", "physical_filter"], how="left")
    raws = (
        _frame(registry.on_sky.of_visits())
        .group_by("instrument", "visit", "detector")
        .agg(pl.len().alias("exposures"), pl.col("exposure"))
    )
    frame = frame.join(bands, on=["instrument", "visit"], how="left").join(
        raws, on=["instrument", "visit", "detector"], how="left"
    )
    if band is not None:
        frame = frame.filter(pl.col("band") == band)
    frame = frame.select(
        "instrument", "visit", "detector", "tract", "patch", "separation", "band", "exposures", "exposure"
    )
    return Overlaps(skymap, frame.sort("instrument", "visit", "detector", "tract", "patch"))


def _frame(table: Any) -> pl.DataFrame:  # Any: an Arrow table
    return cast("pl.DataFrame", pl.from_arrow(table))
