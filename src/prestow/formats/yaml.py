"""YAML documents: a mapping, with the story under the reserved key ``prestow``.

A document is what JSON could hold: text keys, finite numbers, no tags and no dates of YAML's own.
So its content digest is that of the same document in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from prestow.formats.plain import PlainDocument, damaged, mapping_of

_MOST_VALUES = 1_000_000
_NUMBER = re.compile(r"[-+.0-9][-+.0-9eEoOxX_a-fA-F]*")
_Fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_Fast):  # type: ignore[misc, valid-type]  # one of two classes, as PyYAML was built
    """The safe loader, refusing what JSON could not say: repeated keys, dates as objects."""

    yaml_constructors: ClassVar = dict(
        yaml.constructor.SafeConstructor.yaml_constructors
    )  # no library's changes


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


class YAML(PlainDocument):
    """A YAML mapping in UTF-8, read by the safe loader; written in block style with sorted keys."""

    name = "yaml"
    suffix = ".yaml"
    language = "YAML"
    beyond = "holds what JSON could not"

    def load(self, path: Path) -> dict[str, Any]:
        """Read a mapping; tags, repeated keys and keys that are no text are refused."""
        try:
            with open(path, "rb") as file:
                document = _loaded(file.read().decode("utf-8"), path)
        except OSError as error:
            raise damaged(f"cannot be read: {error.strerror}", path) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise damaged(f"not valid YAML{place}: {error.problem or error.context}", path) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise damaged(f"not valid YAML: {error}", path, "write UTF-8 text") from error
        return mapping_of(document, path, "a mapping")

    def dump(self, document: Mapping[str, Any], path: Path) -> bytes:
        """Give UTF-8 text without anchors."""
        plain = _plain(document, path)
        self._content(plain, path)  # what could not be stamped is not written
        try:
            text = yaml.dump(
                plain,
                Dumper=_Plainly,
                sort_keys=True,
                allow_unicode=True,
                default_flow_style=False,
                width=1000,
            )
            return str(text).encode()
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise damaged(f"cannot be written as YAML: {error}", path, "give finite plain values") from error


def _loaded(text: str, path: Path) -> Any:
    """Read a document, unless anchors make it much more than what stands there."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if "*" in text and _values(node, {}) > _MOST_VALUES:
            what = f"its anchors stand for more than {_MOST_VALUES:,} values"
            raise damaged(what, path, "write what is meant, without anchors")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a node, each as often as it is referred to; that one holds itself, loading tells."""
    key = id(node)
    if key not in known:
        known[key] = 0  # while it is being counted
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else (
            node.value if isinstance(node, yaml.SequenceNode) else []
        )  # fmt: skip
        known[key] = 1 + sum(_values(part, known) for part in inner)
    return known[key]


def _plain(value: Any, path: Path) -> Any:
    """Give mappings, lists and plain values; NumPy's values turn into these by themselves."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, path) for item in value]
    give = getattr(value, "tolist", None)
    return value if give is None else _plain(give(), path)
