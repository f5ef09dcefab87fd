"""A working example: a project, a pipeline of three tasks, and a night of a very small camera."""

from __future__ import annotations

import functools
import math
import os
import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from prestow.errors import Problem, ProjectError, raise_all

SIDE = 32  # pixels
NIGHT = 20261101
FILTERS = ("sim-g", "sim-r")
VISITS = 5  # in each filter
DETECTORS = (0, 1)
TASKS = 3


@dataclass(frozen=True, slots=True)
class Example:
    """What was made: files relative to the directory, and counts."""

    files: tuple[PurePosixPath, ...]
    exposures: int
    detectors: int
    raw_files: int
    tasks: int


def create_example(directory: Path, *, dry_run: bool = False) -> Example:
    """Write the example into a directory that is made if it is not there.

    The raw frames are the same bytes on every machine.

    Raises
    ------
    ProjectError
        PST-G004 with every file that is there already; then nothing is written.
    """
    contents = dict(sorted((*_project_files(), *_raw_files())))
    raise_all(
        (
            Problem(
                "PST-G004",
                "there is something of that name already",
                str(directory / name),
                "choose another directory",
            )
            for name in contents
            if os.path.lexists(directory / name)
        ),
        ProjectError,
    )
    if not dry_run:
        _write(directory, contents)
    exposures = VISITS * len(FILTERS)
    return Example(tuple(contents), exposures, len(DETECTORS), exposures * len(DETECTORS), TASKS)


def _write(directory: Path, contents: Mapping[PurePosixPath, bytes]) -> None:
    made: list[Path] = []
    try:
        for name, data in contents.items():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                made.append(target)
                file.write(data)
    except OSError:  # half an example is none
        for target in made:
            target.unlink()
        raise


def _project_files() -> Iterator[tuple[PurePosixPath, bytes]]:
    def below(folder: Traversable, prefix: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
        for entry in folder.iterdir():
            if entry.is_dir() and entry.name != "__pycache__":
                yield from below(entry, prefix / entry.name)
            elif entry.name.endswith((".py", ".yaml")):
                yield prefix / entry.name, entry.read_bytes()

    yield from below(files("prestow.project") / "example_files", PurePosixPath())


def _raw_files() -> Iterator[tuple[PurePosixPath, bytes]]:
    for number in range(VISITS * len(FILTERS)):
        for detector in DETECTORS:
            yield (
                PurePosixPath(f"raw/simcam-{NIGHT}-{number + 1:04d}-{detector}.fits"),
                _raw_frame(number, detector),
            )


@functools.cache
def _starlight() -> tuple[float, ...]:
    stars = [(8.0, 9.5, 4000.0), (21.3, 12.0, 2000.0), (14.7, 24.2, 1000.0)]
    return tuple(
        sum(flux * math.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 4) / (4 * math.pi) for sx, sy, flux in stars)
        for y in range(SIDE)
        for x in range(SIDE)
    )


def _raw_frame(number: int, detector: int) -> bytes:
    # The same three stars in each frame, on a sky that differs between frames, with noise.
    noise = random.Random(number * 100 + detector)  # noqa: S311 - pixels, not secrets
    sky = 200 + 10 * number
    pixels = [round(1000 + sky + light + noise.gauss(0, 10)) for light in _starlight()]
    begin = f"2026-11-02T0{number // 2}:{number % 2 * 30:02d}:00.000"
    cards: dict[str, str | float | bool] = {
        "SIMPLE": True,
        "BITPIX": 16,
        "NAXIS": 2,
        "NAXIS1": SIDE,
        "NAXIS2": SIDE,
        "INSTRUME": "SIMCAM",
        "OBSID": NIGHT * 10000 + number + 1,
        "DETECTOR": detector,
        "FILTER": FILTERS[number % len(FILTERS)],
        "IMGTYPE": "OBJECT",
        "DATE-OBS": begin,
        "EXPTIME": 30.0,
        "OBJECT": "toy field",
        "RA": 150.1,
        "DEC": 2.2,
        "AIRMASS": 1.1,
    }
    header = "".join(_card(key, value) for key, value in cards.items()) + "END".ljust(80)
    return _padded(header.encode("ascii"), b" ") + _padded(struct.pack(f">{len(pixels)}h", *pixels), b"\0")


def _card(key: str, value: str | float | bool) -> str:  # noqa: FBT001 - a header's value
    if isinstance(value, bool):
        text = ("T" if value else "F").rjust(20)
    elif isinstance(value, str):
        text = f"'{value:8}'"
    else:
        text = f"{value}".rjust(20)
    return f"{key:8}= {text}".ljust(80)


def _padded(data: bytes, fill: bytes) -> bytes:
    return data + fill * (-len(data) % 2880)
