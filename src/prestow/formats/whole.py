"""A file format from three functions: for formats whose files are small enough to be read as a whole."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from prestow.errors import TaskError
from prestow.formats import Stamped, Story, story_to_plain
from prestow.formats.plain import KEY, damaged, story_under_key

_NOT_ONE: Final = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, EOFError, OSError)


class WholeFile(ABC):
    """A format whose values carry a mapping, and in it the story under the key ``prestow``.

    A subclass gives ``name``, ``suffix`` and three methods; all that `prestow.formats.Format` asks
    for follows. The content digest is the SHA-256 of what `dump` gives without the story, so `dump` must
    give the same bytes for the same value, and ``load(dump(value))`` the value.

    Examples
    --------
    >>> import json
    >>> class Notes(WholeFile):
    ...     name, suffix = "notes", ".notes"
    ...     def load(self, data):
    ...         return json.loads(data)
    ...     def dump(self, value):
    ...         return json.dumps(value, sort_keys=True).encode()
    ...     def meta(self, value):
    ...         return value
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     Notes().write(Path(directory, "a.notes"), {"sky": "clear"})
    ...     Notes().read(Path(directory, "a.notes"))
    {'sky': 'clear'}
    """

    name: str
    suffix: str
    carrier = f"key {KEY} of its metadata"

    @abstractmethod
    def load(self, data: bytes) -> Any:
        """Give the value of a file; a `ValueError`, or the like, says why it is none."""

    @abstractmethod
    def dump(self, value: Any) -> bytes:
        """Give the bytes of a value, always the same."""

    @abstractmethod
    def meta(self, value: Any) -> MutableMapping[str, Any]:
        """Give the mapping of a value in which the story stands; it takes nested plain values."""

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the file with its story; a story already there is replaced."""
        value, content = self._bare(source)
        self.meta(value)[KEY] = story_to_plain(story)
        data = self._dump(value, source)
        sink.write(data)
        return Stamped(len(data), hashlib.sha256(data).hexdigest(), content)

    def read_story(self, path: Path) -> Story | None:
        """Give the story of a file, or None if it has none."""
        return story_under_key(self.meta(self._load(path)), path)

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of the value without its story, as `dump` writes it."""
        return self._bare(path)[1]

    def check(self, path: Path) -> None:
        """Raise PST-N008 if the file cannot be loaded."""
        self._bare(path)

    def read(self, path: Path, as_: str | None = None) -> Any:
        """Give the value without its story; there is no other way to see it."""
        if as_ is not None:
            raise damaged(f"{self.name} cannot be read as {as_!r}", path, "leave it out")
        value = self._load(path)
        self.meta(value).pop(KEY, None)
        return value

    def write(self, path: Path, value: Any) -> None:
        """Write a value to a new file."""
        data = self._dump(value, path)
        if KEY in self.meta(value):
            raise damaged(f"the key '{KEY}' is reserved for the story", path, "give it another name")
        with path.open("xb") as file:
            file.write(data)

    def _bare(self, path: Path) -> tuple[Any, str]:
        value = self._load(path)
        self.meta(value).pop(KEY, None)
        return value, hashlib.sha256(self._dump(value, path)).hexdigest()

    def _load(self, path: Path) -> Any:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise damaged(f"cannot be read: {error.strerror}", path, "check the path") from error
        try:
            value = self.load(data)
            self.meta(value)
        except TaskError:
            raise
        except _NOT_ONE as error:  # what a library makes of bytes that are not its own
            raise damaged(f"not a valid {self.name} file: {error}", path, "make the file again") from error
        return value

    def _dump(self, value: Any, path: Path) -> bytes:
        try:
            return self.dump(value)
        except _NOT_ONE as error:
            what = f"a {type(value).__name__} cannot be written as {self.name}: {error}"
            raise damaged(what, path, "give what the format can hold") from error
