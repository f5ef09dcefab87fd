"""JSON documents: an object, with the story under the reserved key ``prestow``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from prestow.formats.plain import PlainDocument, damaged, mapping_of, unsaid


class JSON(PlainDocument):
    """A JSON object in UTF-8, its numbers finite; written with sorted keys, indented by one."""

    name = "json"
    suffix = ".json"
    language = "JSON"
    beyond = "not valid JSON"

    def load(self, path: Path) -> dict[str, Any]:
        """Read an object; not a number, infinities and other top values are refused."""
        try:
            with open(path, "rb") as file:
                document = json.loads(file.read().decode("utf-8"), parse_constant=_not_finite)
        except OSError as error:
            raise damaged(f"cannot be read: {error.strerror}", path) from error
        except (ValueError, RecursionError) as error:
            raise damaged(f"not valid JSON: {error}", path, "write finite numbers and UTF-8 text") from error
        return mapping_of(document, path, "an object")

    def dump(self, document: Mapping[str, Any], path: Path) -> bytes:
        """Give UTF-8 text with a final newline."""
        try:
            text = json.dumps(
                dict(document), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=_plain
            )
            return f"{text}\n".encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise unsaid("cannot be written as JSON", document, path, error) from error


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _plain(value: Any) -> Any:
    """NumPy's values give plain ones by themselves; nothing is imported for it."""
    give = getattr(value, "tolist", None)
    if give is None:
        raise TypeError(f"a {type(value).__name__} is not a plain value")
    return give()
