"""YAML documents: a mapping, with the story under the reserved key ``prestow``.

A document is what JSON could hold: text keys, finite numbers, no tags and no dates of YAML's own.
So its content digest is that of the same document in JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from prestow.errors import Problem, TaskError
from prestow.formats import Stamped, Story, story_from_plain, story_to_plain
from prestow.model.hashing import canonical_json, sha256_hex

KEY = "prestow"
_NUMBER = re.compile(r"[-+.0-9][-+.0-9eEoOxX_a-fA-F]*")
_Fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_Fast):  # type: ignore[misc, valid-type]  # one of two classes, as PyYAML was built
    """The safe loader, refusing what JSON could not say: repeated keys, dates as objects."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:  # Any: parsed YAML
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"a key must be text, not {key!r}", key_node.start_mark
            )
        if key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} stands twice", key_node.start_mark
            )
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)  # its text


class YAML:
    """A YAML mapping in UTF-8, read by the safe loader; the key ``prestow`` is the story's."""

    name = "yaml"
    suffix = ".yaml"

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the document with its story: sorted keys, block style; comments do not survive."""
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
        """Raise PST-N008 if this is not a YAML mapping that can be stamped."""
        self.content_digest(path)

    def read(self, path: Path, as_: str | None = None) -> dict[str, Any]:
        """Give the document without its story, as plain values (``as_`` None or ``"dict"``)."""
        if as_ not in (None, "dict"):
            raise _damaged(f"a YAML document cannot be read as {as_!r}", path, "leave it out, or say 'dict'")
        document = _load(path)
        document.pop(KEY, None)
        return document

    def write(self, path: Path, value: Any) -> None:
        """Write a mapping of plain values (NumPy scalars and arrays too) to a new file."""
        if not isinstance(value, Mapping):
            raise _damaged(f"a YAML document must be a mapping, not {type(value).__name__}", path)
        if KEY in value:
            raise _damaged(f"the key '{KEY}' is reserved for the story", path, "give it another name")
        document = _plain(value, path)
        _content(document, path)  # what could not be stamped is not written
        data = _dump(document, path)
        with path.open("xb") as file:
            file.write(data)


def _damaged(what: str, path: Path, fix: str = "") -> TaskError:
    return TaskError(Problem("PST-N008", what, str(path), fix))


def _load(path: Path) -> dict[str, Any]:  # Any: parsed YAML
    try:
        with open(path, "rb") as file:
            document = yaml.load(file.read().decode("utf-8"), _Loader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise _damaged(f"cannot be read: {error.strerror}", path) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _damaged(f"not valid YAML{place}: {error.problem or error.context}", path) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _damaged(f"not valid YAML: {error}", path, "write UTF-8 text") from error
    if not isinstance(document, dict):
        raise _damaged(
            f"the document must be a mapping, not {type(document).__name__}",
            path,
            "put the values under a key",
        )
    return document


def _content(document: dict[str, Any], path: Path) -> str:
    try:
        return sha256_hex(canonical_json(document).encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(
            f"holds what JSON could not: {error}", path, "write text, finite numbers, lists and mappings"
        ) from error


class _Plainly(_Dumper):  # type: ignore[misc, valid-type]  # one of two classes, as PyYAML was built
    """The safe dumper, without anchors: a value that stands twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote what only YAML 1.2 takes for a number: a recipe may read ``12e4``."""
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="'" if _NUMBER.fullmatch(text) else None
    )


_Plainly.add_representer(str, _text)


def _dump(document: dict[str, Any], path: Path) -> bytes:
    try:
        text = yaml.dump(
            document,
            Dumper=_Plainly,
            sort_keys=True,
            allow_unicode=True,
            default_flow_style=False,
            width=1000,
        )
        return str(text).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise _damaged(f"cannot be written as YAML: {error}", path, "give finite plain values") from error


def _plain(value: Any, path: Path) -> Any:
    """Give mappings, lists and plain values; NumPy's values turn into these by themselves."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, path) for item in value]
    give = getattr(value, "tolist", None)
    return value if give is None else _plain(give(), path)
