"""What a file is: read, write, read its story, stamp its story, content digest.

Owns the formats and the story that stands inside a product. Serves the node, raw ingest and
output ingest. Never names a file or moves one to its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from prestow.model.frozen import frozen
from prestow.plugins import load

STORY_SCHEMA = 1

CONVERTED = "+convert"
"""What the task of a story ends in where the file is a copy in another format, made by ``prestow convert``."""


@frozen
class StoryInput:
    """A parent of a product: what it is, and its digest; or its state and code if it was absent."""

    connection: str
    type: str
    data_id: str  # canonical JSON
    id: str
    state: str = "made"
    code: str = ""
    sha256: str = ""
    recipe: str = ""  # actual


@frozen
class StoryRoot:
    """A raw or foreign dataset that a product goes back to."""

    type: str
    data_id: str  # canonical JSON
    id: str


@frozen
class Story:
    """The provenance inside a file. Never plan id, clock, host, attempt or free text."""

    type: str
    id: str
    run: str
    data_id: str  # canonical JSON
    task: str
    version: str  # of the task: digest of its code, or empty
    recipe: str  # actual
    planned_recipe: str
    planned: int  # how many inputs were planned
    used: int  # how many of them were there
    inputs: tuple[StoryInput, ...] = ()
    roots: tuple[StoryRoot, ...] = ()


@frozen
class Inspected:
    """What one reading of a product tells: its story, content digest, and metrics by name."""

    story: Story | None
    content: str
    metrics: Mapping[str, float]


@frozen
class Stamped:
    """What a stamped file is: size in bytes, SHA-256 of its bytes, SHA-256 of its content."""

    size: int
    sha256: str
    content: str


class Format(Protocol):
    """One file format. A problem with a file is a `prestow.errors.TaskError` with PST-N008.

    It may also say in ``carrier`` where the story stands, for people; be `Tabular`; be `Measuring`. Where files
    are small, `prestow.formats.whole.WholeFile` makes one from three functions.
    """

    name: str
    suffix: str

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the file with its story to the sink; a story already there is replaced."""

    def read_story(self, path: Path) -> Story | None:
        """Give the story of a file, or None if it has none."""

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of pixels, columns and science headers, without the story."""

    def check(self, path: Path) -> None:
        """Raise PST-N008 with what and where if this is not a whole file of this format."""

    def read(self, path: Path, as_: str | None = None) -> Any:
        """Read a file; ``as_`` is chosen in the call, never in a configuration."""

    def write(self, path: Path, value: Any) -> None:
        """Write plain values, arrays or astropy objects to a new file."""


@runtime_checkable
class Tabular(Protocol):
    """A format of tables that can hold a file to its declared columns."""

    def check_columns(self, path: Path, columns: Sequence[tuple[str, str]]) -> None:
        """Raise PST-N008 with all differences from these names and Arrow types, in this order."""


@runtime_checkable
class Measuring(Protocol):
    """A format whose products may carry metrics: numbers by name that can be asked for."""

    def inspect(self, path: Path) -> Inspected:
        """Give story, content digest and metrics, in one reading."""


def open_format(name: str) -> Format:
    """Give the format of that name; an unknown one lists what there is."""
    result: Format = load("formats", name)()
    return result


def story_to_plain(story: Story) -> dict[str, Any]:
    """Give a story as plain values, as it stands in JSON and YAML under the key ``prestow``."""
    return {
        "schema": STORY_SCHEMA,
        **{
            n: getattr(story, n)
            for n in (
                "type",
                "id",
                "run",
                "data_id",
                "task",
                "version",
                "recipe",
                "planned_recipe",
                "planned",
                "used",
            )
        },
        "inputs": [{n: getattr(i, n) for n in StoryInput.__dataclass_fields__} for i in story.inputs],
        "roots": [{n: getattr(r, n) for n in StoryRoot.__dataclass_fields__} for r in story.roots],
    }


def story_from_plain(plain: Mapping[str, Any]) -> Story:
    """Read what `story_to_plain` gave.

    Raises
    ------
    ValueError
        If the values are not a story of this schema.
    """
    d = dict(plain)
    if d.pop("schema", None) != STORY_SCHEMA:
        raise ValueError("not a story of this schema")
    try:
        return Story(
            **{
                **d,
                "inputs": tuple(StoryInput(**i) for i in d["inputs"]),
                "roots": tuple(StoryRoot(**r) for r in d["roots"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a story: {error}") from error
