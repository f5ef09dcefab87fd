"""Documents of plain values: what JSON and YAML have in common."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from prestow.errors import Problem, TaskError
from prestow.formats import Inspected, Stamped, Story, story_from_plain, story_to_plain
from prestow.formats.metrics import metrics_of
from prestow.model.hashing import canonical_json, sha256_hex

KEY = "prestow"
"""The reserved key under which the story stands."""


class PlainDocument(ABC):
    """A mapping of text to plain values in UTF-8; the key ``prestow`` is the story's.

    The key ``metrics``, if there is one, is a mapping of names to numbers: they can be asked for once the
    product is taken in. What is not is refused when a product is checked or stamped (PST-N011).

    Its content digest is that of its canonical JSON, so the same document has the same one in any
    such format.
    """

    name: str
    suffix: str
    carrier = f"key {KEY}"
    language: str
    beyond: str  # how to say that a document holds what JSON cannot

    @abstractmethod
    def load(self, path: Path) -> dict[str, Any]:
        """Read a file as it stands, story and all; PST-N008 if it is not a mapping."""

    @abstractmethod
    def dump(self, document: Mapping[str, Any], path: Path) -> bytes:
        """Give the bytes of a document, always the same; PST-N008 if it cannot be said."""

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the document with its story, keys sorted; comments do not survive."""
        document = self._bare(source)
        metrics_of(document, source)
        content = self._content(document, source)
        document[KEY] = story_to_plain(story)
        data = self.dump(document, source)
        sink.write(data)
        return Stamped(len(data), hashlib.sha256(data).hexdigest(), content)

    def read_story(self, path: Path) -> Story | None:
        """Give the story under the reserved key, or None."""
        return story_under_key(self.load(path), path)

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of the canonical JSON of all but the story."""
        return self._content(self._bare(path), path)

    def check(self, path: Path) -> None:
        """Raise PST-N008 if this is not a mapping that can be stamped, PST-N011 for what its metrics are."""
        document = self._bare(path)
        metrics_of(document, path)
        self._content(document, path)

    def inspect(self, path: Path) -> Inspected:
        """Give story, content digest and metrics, in one reading."""
        document = self.load(path)
        story = story_under_key(document, path)
        document.pop(KEY, None)
        return Inspected(story, self._content(document, path), metrics_of(document, path))

    def read(self, path: Path, as_: str | None = None) -> dict[str, Any]:
        """Give the document without its story, as plain values (``as_`` None or ``"dict"``)."""
        if as_ not in (None, "dict"):
            what = f"a {self.language} document cannot be read as {as_!r}"
            raise damaged(what, path, "leave it out, or say 'dict'")
        return self._bare(path)

    def write(self, path: Path, value: Any) -> None:
        """Write a mapping of plain values (NumPy scalars and arrays too) to a new file."""
        if not isinstance(value, Mapping):
            raise damaged(f"a {self.language} document must be a mapping, not {type(value).__name__}", path)
        if KEY in value:
            raise damaged(f"the key '{KEY}' is reserved for the story", path, "give it another name")
        data = self.dump(value, path)
        with path.open("xb") as file:
            file.write(data)

    def _bare(self, path: Path) -> dict[str, Any]:
        document = self.load(path)
        document.pop(KEY, None)
        return document

    def _content(self, document: Mapping[str, Any], path: Path) -> str:
        try:
            return sha256_hex(canonical_json(document).encode())
        except (ValueError, TypeError, RecursionError) as error:
            raise unsaid(self.beyond, document, path, error) from error


def story_under_key(document: Mapping[str, Any], path: Path) -> Story | None:
    """Give the story under the reserved key of a document, or None if there is none."""
    plain = document.get(KEY)
    if plain is None:
        return None
    try:
        return story_from_plain(plain)
    except (ValueError, TypeError) as error:
        raise damaged(f"the key '{KEY}' is reserved for the story: {error}", path) from error


def damaged(what: str, path: Path, fix: str = "") -> TaskError:
    """Give the error for a file that is not of its format."""
    return TaskError(Problem("PST-N008", what, str(path), fix))


def unsaid(what: str, document: object, path: Path, error: Exception) -> TaskError:
    """Give the error for a document with a value that JSON cannot say, by its key."""
    fix = "write text, finite numbers, lists and mappings"
    return damaged(f"{what}: {culprit(document) or error}", path, fix)


def culprit(value: object, at: str = "") -> str:
    """Say which is the first value in a document that is not plain, or nothing.

    Examples
    --------
    >>> culprit({"metrics": {"seeing": [1.0, float("nan")]}}), culprit({"a": {1}}), culprit({"a": [None]})
    ("'metrics.seeing[1]' is nan", "'a' is a set", '')
    """
    give = getattr(value, "tolist", None)
    value = value if give is None else give()
    if isinstance(value, Mapping | list | tuple):
        if at.count(".") + at.count("[") > _DEEP:
            return f"'{at[:40]}…' is too deep"
        items = (
            ((f"{at}.{key}" if at else str(key), item) for key, item in value.items())
            if isinstance(value, Mapping)
            else ((f"{at}[{n}]", item) for n, item in enumerate(value))
        )
        return next((found for place, item in items if (found := culprit(item, place))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"'{at}' is {value}"
    if value is None or isinstance(value, str | int | float):
        return ""
    name = type(value).__qualname__
    return f"'{at}' is {'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


_DEEP = 100


def mapping_of(document: object, path: Path, word: str) -> dict[str, Any]:
    """Give the document back, or refuse it if it is not a mapping."""
    if not isinstance(document, dict):
        what = f"the document must be {word}, not {type(document).__name__}"
        raise damaged(what, path, "put the values under a key")
    return document
