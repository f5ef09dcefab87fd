r"""Small jobs, made by hand without a planner: pieces of data, quanta that join them, manifests.

Examples
--------
>>> import tempfile
>>> from prestow.node import run_manifest
>>> with tempfile.TemporaryDirectory() as directory:
...     jobs = Jobs(directory)
...     raw = jobs.existing("raw", {"visit": 1}, {"flux": 2})
...     _ = jobs.code(double="def run(quantum):\n    quantum.put('y', {'flux': 2 * quantum.get('x')['flux']})\n")
...     made = jobs.quantum("double", {"visit": 1}, entry="double:run", inputs={"x": [raw]}, outputs={"y": "json"})
...     outcome = run_manifest(jobs.manifest(), scratch=jobs.scratch)
...     [str(state) for state in outcome.states.values()], jobs.read(made["y"])
(['made'], {'flux': 4})
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prestow.commit import code_name, receipt_name
from prestow.formats import open_format
from prestow.manifest import (
    Code,
    Connection,
    Location,
    Manifest,
    ManifestInput,
    ManifestOutput,
    ManifestQuantum,
)
from prestow.model.hashing import (
    canonical_json,
    dataset_id,
    input_term,
    planned_recipe,
    quantum_id,
    sha256_hex,
    task_digest,
)
from prestow.stores import Store, open_store

Values = Mapping[str, str | int]
Wanted = Sequence["Piece"] | tuple[Sequence["Piece"], str | int | float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A dataset: one that exists (``sha256`` is known), or one that a quantum here will make."""

    type: str
    data_id: Values
    run: str
    id: str
    format: str
    path: str
    recipe: str
    producer: str | None = None
    receipt: str | None = None
    store: str = "output"
    size: int | None = None
    sha256: str | None = None
    content: str | None = None

    @property
    def name(self) -> str:
        """Its type and data ID, as a name for files."""
        return "-".join([self.type, *(str(self.data_id[k]) for k in sorted(self.data_id))])


class Jobs:
    """Makes manifests over a real store in a directory (or at another URI).

    Parameters
    ----------
    directory : path
        Gets ``archive/`` (existing data), ``store/`` (outputs) and ``scratch/``.
    run : str
        Name of the run.
    output : str, optional
        URI of the output store.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, run: str = "demo", output: str | None = None
    ) -> None:
        self.directory = Path(directory).resolve()
        self.run = run
        self.scratch = self.directory / "scratch"
        self.stores = {
            "archive": f"file://{self.directory}/archive",
            "output": output or f"file://{self.directory}/store",
        }
        self.bundle: Code | None = None
        self.quanta: list[tuple[ManifestQuantum, dict[str, list[Piece]], dict[str, list[Piece]]]] = []

    @property
    def store(self) -> Store:
        """The output store, opened anew."""
        return open_store(self.stores["output"])

    def code(self, **modules: str) -> Code:
        """Put the workflow's code, modules by name, into the archive."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(modules):
                archive.writestr(zipfile.ZipInfo(f"{name}.py"), modules[name])
        data = buffer.getvalue()
        sha256 = sha256_hex(data)
        open_store(self.stores["archive"]).put_if_absent(code_name(sha256), data)
        self.bundle = Code(sha256, "archive", code_name(sha256), len(data))
        return self.bundle

    def existing(
        self, type_: str, data_id: Values, value: Mapping[str, Any] | bytes, *, format_: str = "json"
    ) -> Piece:
        """Put a root into the archive: a JSON document, or bytes as they are."""
        data = value if isinstance(value, bytes) else canonical_json(dict(value)).encode()
        piece = Piece(type_, dict(data_id), "raw", dataset_id(type_, "raw", data_id), format_, "", "")
        path = f"{type_}/{piece.name}"
        open_store(self.stores["archive"]).put_if_absent(path, data)
        digest = hashlib.sha256(data).hexdigest()
        return replace(
            piece,
            path=path,
            recipe=digest[:32],
            store="archive",
            size=len(data),
            sha256=digest,
            content=digest,
        )

    def quantum(
        self,
        task: str,
        data_id: Values,
        *,
        entry: str | None = None,
        command: Sequence[str] | None = None,
        inputs: Mapping[str, Wanted] | None = None,
        outputs: Mapping[str, str] | None = None,
        optional: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Piece]:
        """Add a quantum; give what it will make by connection.

        ``inputs``: for each connection the pieces, or (pieces, minimum). ``outputs``: for each
        connection its format; the dataset type is ``<task>_<connection>``.
        """
        identity = quantum_id(task, self.run, data_id)
        receipt = receipt_name(self.run, task, identity)
        pieces: dict[str, list[Piece]] = {}
        connections: dict[str, Connection] = {}
        for name, wanted in (inputs or {}).items():
            here, minimum = wanted if isinstance(wanted, tuple) else (wanted, "all")
            pieces[name] = list(here)
            connections[name] = Connection((), minimum)
        terms = [
            input_term(name, p.type, canonical_json(dict(p.data_id)), p.recipe)
            for name, ps in pieces.items()
            for p in ps
        ]
        does = {"entry": entry, "command": list(command) if command else None, "config": dict(config or {})}
        digest = task_digest(task, does, self.bundle.sha256 if self.bundle else None)
        recipe = planned_recipe(digest, canonical_json(dict(data_id)), terms)
        made: dict[str, list[Piece]] = {}
        for name, format_ in (outputs or {}).items():
            type_ = f"{task}_{name.lstrip('_')}"
            piece = Piece(
                type_,
                dict(data_id),
                self.run,
                dataset_id(type_, self.run, data_id),
                format_,
                "",
                recipe,
                identity,
                receipt,
            )
            suffix = open_format(format_).suffix
            made[name] = [replace(piece, path=f"{self.run}/{type_}/{piece.name}{suffix}")]
        definition = ManifestQuantum(
            id=identity, task=task, data_id=dict(data_id), recipe=recipe, receipt=receipt, inputs=connections,
            outputs={name: Connection((), optional=name in optional) for name in made}, entry=entry,
            command=tuple(command) if command else None, config=dict(config or {}), **more,
        )  # fmt: skip
        self.quanta.append((definition, pieces, made))
        return {name: ps[0] for name, ps in made.items()}

    def manifest(self, *tasks: str, job: str = "job") -> Manifest:
        """Give the manifest of one job: all quanta, or those of these tasks."""
        chosen = [q for q in self.quanta if not tasks or q[0].task in tasks]
        inputs: dict[str, ManifestInput] = {}
        outputs: dict[str, ManifestOutput] = {}
        locations: dict[str, Location] = {}
        quanta = []
        for definition, needs, gives in chosen:
            for piece in (p for ps in needs.values() for p in ps):
                inputs[piece.id] = ManifestInput(
                    id=piece.id, type=piece.type, data_id=piece.data_id, run=piece.run, format=piece.format,
                    recipe=piece.recipe, local=f"inputs/{piece.type}/{piece.path}", producer=piece.producer,
                    receipt=piece.receipt, size=piece.size, sha256=piece.sha256, content=piece.content,
                )  # fmt: skip
                if piece.sha256 is not None:
                    locations[piece.id] = Location(piece.store, piece.path)
            for piece in (p for ps in gives.values() for p in ps):
                outputs[piece.id] = ManifestOutput(
                    piece.id, piece.type, piece.data_id, piece.format, piece.path, f"outputs/{piece.path}"
                )
            at_inputs, at_outputs = list(inputs), list(outputs)
            quanta.append(replace(
                definition,
                inputs={
                    name: replace(c, datasets=tuple(at_inputs.index(p.id) for p in needs[name]))
                    for name, c in definition.inputs.items()
                },
                outputs={
                    name: replace(c, datasets=tuple(at_outputs.index(p.id) for p in gives[name]))
                    for name, c in definition.outputs.items()
                },
            ))  # fmt: skip
        return Manifest(
            job=job, plan="0" * 32, run=self.run, quanta=tuple(quanta), inputs=tuple(inputs.values()),
            outputs=tuple(outputs.values()), store="output", stores=dict(self.stores), locations=locations,
            code=self.bundle,
        )  # fmt: skip

    def read(self, piece: Piece) -> Any:
        """Give the document at a JSON piece's planned name, without its story."""
        document = json.loads(self.store.read(piece.path))
        document.pop("prestow", None)
        return document
