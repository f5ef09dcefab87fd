"""A new project with the pipeline, universe and instruments of another one."""

from __future__ import annotations

import json
from pathlib import Path

from prestow.project.configuration import FILE, SCHEMA, Configuration, read_configuration


def set_up(root: Path, like: Configuration, *, comment: str = "") -> Configuration:
    """Make a project in a directory: a registry and a store of its own, and the files of another one by their paths.

    What is there already is left as it is.
    """
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"# {comment}"] if comment else []
    lines += [
        f"schema: {SCHEMA}",
        "registry: sqlite:///registry.db",
        "store: store",
        f"pipeline: {_quoted(like.pipeline)}",
    ]
    if like.universe is not None:
        lines.append(f"universe: {_quoted(like.universe)}")
    if like.instruments:
        lines += ["instruments:", *(f"  - {_quoted(path)}" for path in like.instruments)]
    lines.append(f"workers: {like.workers}")
    file = root / FILE
    if not file.exists():
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "store").mkdir(exist_ok=True)
    return read_configuration(root)


def _quoted(path: Path) -> str:
    return json.dumps(str(path.absolute()))  # a JSON text is a YAML text
