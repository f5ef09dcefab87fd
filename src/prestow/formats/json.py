"""JSON documents: an object, with the story under the reserved key ``prestow``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from prestow.errors import Problem, TaskError
from prestow.formats import Stamped, Story, story_from_plain, story_to_plain
from prestow.model.hashing import canonical_json, sha256_hex

KEY = "prestow"


class JSON:
    """A JSON object in UTF-8. Numbers must be finite; the key ``prestow`` is the story's."""

    name = "json"
    suffix = ".json"

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the document with its story: sorted keys, indented by one, a final newline."""
        document = _load(source)
        document.pop(KEY, None)
        content = _content(document, source)
        document[KEY] = story_to_plain(story)
        data = _dump(document, source)
        sink.write(data)
        return Stamped(len(data), hashlib.sha256(data).hexdigest(), content)

    def read_story(self, path: Path) -> Story | None:
        """Give the story under the reserved key, or None."""
        plain = _load(path).get(KEY)
        if plain is None:
            return None
        try:
            return story_from_plain(plain)
        except (ValueError, TypeError) as error:
            raise _damaged(f"the key '{KEY}' is reserved for the story: {error}", path) from error

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of the canonical JSON of all but the story."""
        document = _load(path)
        document.pop(KEY, None)
        return _content(document, path)

    def check(self, path: Path) -> None:
        """Raise PST-N008 if this is not a JSON object that can be stamped."""
        self.content_digest(path)

    def read(self, path: Path, as_: str | None = None) -> dict[str, Any]:
        """Give the document without its story, as plain values (``as_`` None or ``"dict"``)."""
        if as_ not in (None, "dict"):
            raise _damaged(f"a JSON document cannot be read as {as_!r}", path, "leave it out, or say 'dict'")
        document = _load(path)
        document.pop(KEY, None)
        return document

    def write(self, path: Path, value: Any) -> None:
        """Write a mapping of plain values (NumPy scalars and arrays too) to a new file."""
        if not isinstance(value, Mapping):
            raise _damaged(f"a JSON document must be a mapping, not {type(value).__name__}", path)
        if KEY in value:
            raise _damaged(f"the key '{KEY}' is reserved for the story", path, "give it another name")
        data = _dump(dict(value), path)
        with path.open("xb") as file:
            file.write(data)


def _damaged(what: str, path: Path, fix: str = "") -> TaskError:
    return TaskError(Problem("PST-N008", what, str(path), fix))


def _load(path: Path) -> dict[str, Any]:  # Any: parsed JSON
    def not_finite(text: str) -> NoReturn:
        raise ValueError(f"{text} is not JSON")

    try:
        with open(path, "rb") as file:
            document = json.loads(file.read().decode("utf-8"), parse_constant=not_finite)
    except OSError as error:
        raise _damaged(f"cannot be read: {error.strerror}", path) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(f"not valid JSON: {error}", path, "write finite numbers and UTF-8 text") from error
    if not isinstance(document, dict):
        raise _damaged(
            f"the document must be an object, not {type(document).__name__}",
            path,
            "put the values under a key",
        )
    return document


def _content(document: dict[str, Any], path: Path) -> str:
    try:
        return sha256_hex(canonical_json(document).encode())
    except (ValueError, RecursionError) as error:
        raise _damaged(f"not valid JSON: {error}", path, "write finite numbers and UTF-8 text") from error


def _dump(document: dict[str, Any], path: Path) -> bytes:
    try:
        text = json.dumps(
            document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=_plain
        )
        return f"{text}\n".encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(f"cannot be written as JSON: {error}", path, "give finite plain values") from error


def _plain(value: Any) -> Any:
    """NumPy's values give plain ones by themselves; nothing is imported for it."""
    give = getattr(value, "tolist", None)
    if give is None:
        raise TypeError(f"a {type(value).__name__} is not a plain value")
    return give()
