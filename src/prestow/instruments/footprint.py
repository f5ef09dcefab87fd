"""Where an instrument's footprints are from: the WCS of a header, or the pointing and the camera's geometry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.documents import Document, Key
from prestow.errors import ConfigurationError, Problem
from prestow.instruments.rules import Value

if TYPE_CHECKING:
    from prestow.sky.footprints import Camera


@dataclass(frozen=True, slots=True)
class Footprint:
    """The four corners of a detector on the sky, in degrees, and where they are from."""

    corners: tuple[tuple[float, float], ...]
    origin: str

    def as_dict(self) -> dict[str, object]:
        """Give plain values, for a record."""
        return {"corners": [list(corner) for corner in self.corners], "origin": self.origin}

    def columns(self) -> dict[str, float | str]:
        """Give the columns of a registry's row."""
        named: dict[str, float | str] = {"origin": self.origin}
        for number, (ra, dec) in enumerate(self.corners):
            named[f"ra{number}"], named[f"dec{number}"] = ra, dec
        return named


@dataclass(frozen=True, slots=True)
class FootprintRule:
    """How footprints are had.

    Parameters
    ----------
    wcs : int or None
        The HDU whose header has the WCS.
    camera : Camera or None
        Corners in the focal plane; then the pointing is ``ra``, ``dec`` and the value ``rotation``.
    rotation : str
        The name of a value, in degrees; empty for none.
    """

    wcs: int | None = None
    camera: Camera | None = None
    rotation: str = ""

    def pointing(self, values: Mapping[str, Value]) -> tuple[float, float, float] | str | None:
        """Give the pointing that values say, or what is wrong with them; None if it is not needed."""
        if self.camera is None:
            return None
        found = []
        for name in ("ra", "dec", *((self.rotation,) if self.rotation else ())):
            value = values.get(name)
            if not isinstance(value, int | float):
                return f"{name}: the footprint needs it, and it is {value!r}"
            found.append(float(value))
        return found[0], found[1], found[2] if self.rotation else 0.0

    def find(
        self, path: str, detector: int, pointing: tuple[float, float, float] | None
    ) -> Footprint | Problem:
        """Give the footprint of a raw file, or the problem with it."""
        from prestow.sky.footprints import footprint_of_wcs, sound

        fix = "leave the file out, mend its header, or change 'footprint' of the instrument"
        if self.camera is not None:
            assert pointing is not None
            corners, origin = self.camera.footprint(detector, *pointing), "camera"
        else:
            assert self.wcs is not None
            try:
                corners, origin = footprint_of_wcs(Path(path), self.wcs), "wcs"
            except ValueError as error:
                return Problem("PST-S005", f"there is no footprint: {error}", path, fix)
        if not sound(corners):
            return Problem("PST-S006", "its footprint is no convex polygon within 45 deg", path, fix)
        return Footprint(tuple((float(ra) % 360.0, float(dec)) for ra, dec in corners), origin)


def read_footprint_rule(
    document: Document,
    value: object,
    names: Collection[str],
    detectors: Collection[int],
    directory: Path | None,
) -> tuple[FootprintRule | None, list[Problem]]:
    """Read the rule of an instrument's file; ``names`` are those of its values."""
    if value is None:
        return None, []
    path: Key = ("footprint",)
    problems = document.check_keys(path, value, optional=("wcs", "camera", "rotation"))
    if problems or not isinstance(value, dict):
        return None, problems
    if ("wcs" in value) == ("camera" in value):
        fix = "write 'wcs: HDU' or 'camera: FILE'"
        return None, [document.problem("PST-C013", path, "a footprint is from the WCS or from a camera", fix)]
    if "wcs" in value:
        problems += document.check_type((*path, "wcs"), value["wcs"], int)
        if "rotation" in value:
            problems.append(
                document.problem(
                    "PST-C013", (*path, "rotation"), "a WCS has its own rotation", "leave it out", at_key=True
                )
            )
        return FootprintRule(wcs=value["wcs"]), problems
    rotation = value.get("rotation", "")
    for name, at in (("ra", path), ("dec", path), *(((rotation, (*path, "rotation")),) if rotation else ())):
        if name not in names:
            what = f"there is no value '{name}', which the pointing needs"
            problems.append(document.problem("PST-C013", at, what, f"add '{name}:' to 'values'"))
    at = (*path, "camera")
    wrong = document.check_type(at, value["camera"], str)
    if wrong:
        return None, [*problems, *wrong]
    from prestow.sky.footprints import load_camera

    try:
        camera = load_camera((directory or Path()) / value["camera"])
    except ConfigurationError as error:
        return None, [*problems, *error.problems]
    lacking = [number for number in detectors if number not in camera.detectors]
    if lacking:
        what = f"the camera has no detector {', '.join(map(str, sorted(lacking)))}"
        problems.append(document.problem("PST-C013", at, what, "add their corners"))
    return FootprintRule(camera=camera, rotation=str(rotation)), problems
