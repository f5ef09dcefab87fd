"""Sandboxes: projects that hold a dataset and its ancestors, brought from another project, and their mark.

A sandbox is a project like any other. Its store carries a record that says so; no other project takes its
files in, since what is made in it is made again, and was committed elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError
from prestow.plan.document import pipeline_to_plain
from prestow.project.opened import STORE
from prestow.project.recipes_of_runs import RunRecipe, from_plain
from prestow.project.sandbox_marks import DIRECTORY, PAPER
from prestow.results.ancestry import Ancestry

if TYPE_CHECKING:
    from prestow.results.ancestry import KnownDataset
    from prestow.stores import Store

SCHEMA = "prestow.sandbox/1"
_ANCESTRY = f"{DIRECTORY}/ancestry.json"
_LOCK = f"{DIRECTORY}/lock"
BEFORE = f"{DIRECTORY}/before"
"""Where the bytes of what is made again stay, to be compared."""


@dataclass(slots=True)
class Sandbox:
    """What a sandbox says of itself.

    Parameters
    ----------
    id : str
        32 digits.
    source : mapping
        ``project`` and ``store`` that it was brought from.
    runs : mapping of run to RunRecipe
        How each run is made.
    gone : mapping of dataset id to str
        What does not exist there, and why.
    hindered : mapping of dataset id to str
        What nothing makes, and why it is not to be had.
    spent : mapping of quantum id to float
        CPU seconds that making something cost there.
    records : mapping of dimension to list of rows
        Records of the dimensions that plans need.
    ancestry : Ancestry
        All that was asked for goes back to.
    """

    id: str
    source: Mapping[str, str]
    runs: dict[str, RunRecipe] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    hindered: dict[str, str] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # Any: values of a record
    ancestry: Ancestry = field(default_factory=Ancestry)

    @property
    def stopped(self) -> dict[str, str]:
        """Runs of which nothing can be made here, and why."""
        return {run: recipe.why for run, recipe in self.runs.items() if recipe.pipeline is None}


def read_sandbox(root: Path, store: Store | None = None) -> Sandbox | None:
    """Read what a directory says of itself as a sandbox; None if it is none.

    Parameters
    ----------
    store : Store, optional
        Where the code of the runs is; without it pipelines are without code.
    """
    try:
        plain = json.loads((root / PAPER).read_text(encoding="utf-8"))
        known = json.loads((root / _ANCESTRY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        what = f"the sandbox's own papers cannot be read: {error}"
        raise ProjectError(
            Problem("PST-T002", what, str(root / DIRECTORY), "fetch into another directory")
        ) from error
    if plain.get("schema") != SCHEMA:
        what = f"a sandbox of schema {plain.get('schema')}, this prestow reads {SCHEMA}"
        raise ProjectError(Problem("PST-T002", what, str(root), "fetch into another directory"))
    runs = {run: _recipe(run, told, store) for run, told in plain["runs"].items()}
    return Sandbox(
        plain["id"],
        plain["source"],
        runs,
        plain["gone"],
        plain["hindered"],
        plain["spent"],
        plain["records"],
        Ancestry.from_plain(known),
    )


def _recipe(run: str, told: Mapping[str, Any], store: Store | None) -> RunRecipe:  # Any: JSON values
    from prestow.commit import code_name
    from prestow.pipeline.definition import CodeBundle

    pipeline = None
    if told["pipeline"] is not None:
        code = told["pipeline"]["code"]
        bundle = (
            CodeBundle(store.read(code_name(code["sha256"])), code["sha256"])
            if code and store is not None
            else None
        )
        pipeline = from_plain(told["pipeline"], bundle)
    return RunRecipe(run, told["facts"], tuple(told["parents"]), pipeline, told["why"])


def write_sandbox(root: Path, sandbox: Sandbox) -> None:
    """Write what a sandbox says of itself; each file at once or not at all."""
    (root / DIRECTORY).mkdir(parents=True, exist_ok=True)
    plain = {
        "schema": SCHEMA, "id": sandbox.id, "source": dict(sandbox.source), "gone": sandbox.gone, "hindered": sandbox.hindered,
        "spent": sandbox.spent, "records": sandbox.records,
        "runs": {
            run: {
                "facts": dict(one.facts), "parents": list(one.parents), "why": one.why,
                "pipeline": None if one.pipeline is None else pipeline_to_plain(one.pipeline),
            }
            for run, one in sandbox.runs.items()
        },
    }  # fmt: skip
    write_text(root / _ANCESTRY, json.dumps(sandbox.ancestry.to_plain(), ensure_ascii=False) + "\n")
    write_text(root / PAPER, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file at once or not at all; one that says the same already is left as it is."""
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".prestow-tmp-{os.getpid()}-{path.name}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def sandbox_lock(root: Path) -> Iterator[None]:
    """Hold the lock of a sandbox; the system releases it when the process dies.

    Raises
    ------
    ProjectError
        PST-T006 if another process works in it.
    """
    (root / DIRECTORY).mkdir(parents=True, exist_ok=True)
    with (root / _LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = "another fetch or regenerate works in this sandbox"
            raise ProjectError(Problem("PST-T006", what, str(root), "wait until it has ended")) from error
        yield


def place_of(one: KnownDataset) -> str:
    """Give the name of a dataset in the sandbox's store: its own name, below its store's if that is another."""
    return one.path if one.store in ("", STORE) else f"{one.store}/{one.path}"
