"""A staged job seen from Python: its quanta, whose inputs lie in the directory, and whose outputs go there.

For notebooks and for frameworks of their own. Nothing is settled: ``python -m prestow.node manifest.json`` there does that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from prestow.errors import Problem, TaskError
from prestow.manifest import Manifest
from prestow.model import State
from prestow.model.hashing import seed_of
from prestow.node.inputs import Inputs, Seen, input_in_words
from prestow.node.repository import MANIFEST, lost_input
from prestow.node.run import check, parse
from prestow.node.tars import Members
from prestow.stores import Store, open_store
from prestow.tasks import Absent, Input, Output, Quantum


def staged_quanta(directory: str | os.PathLike[str]) -> tuple[Quantum, ...]:
    """Give the quanta of a job that ``prestow stage`` brought into a directory, in their order.

    Each input that another quantum of the job makes is where that one puts it. What lies in a tar is unpacked
    first, verified; what lies there already is taken as it is.

    Raises
    ------
    TaskError
        PST-N009 if there is no sound manifest, PST-N006 if an input is not there as it was committed.
    """
    top = Path(os.path.abspath(directory))
    try:
        manifest = parse((top / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        fix = "name a directory of: prestow stage JOB --into DIR"
        raise TaskError(
            Problem("PST-N009", f"there is no {MANIFEST}: {error.strerror}", str(top), fix)
        ) from error
    check(manifest)
    here = {name: f"file://{top}" if uri == "." else uri for name, uri in manifest.stores.items()}
    return tuple(_quanta(replace(manifest, stores=here), top))


def _quanta(manifest: Manifest, top: Path) -> Iterator[Quantum]:
    stores: dict[str, Store] = {}

    def opened(name: str) -> Store:
        if name not in stores:
            stores[name] = open_store(manifest.stores[name])
        return stores[name]

    inputs = Inputs(manifest, {}, {}, [], opened, str(top))
    own = {output.id: output for output in manifest.outputs}
    for quantum in manifest.quanta:
        unsettled = list(inputs.unsettled(quantum))
        if unsettled:
            raise TaskError(Problem("PST-N009", f"the receipt of {unsettled[0]} is not there", str(top)))
        given: dict[str, list[Input]] = {name: [] for name in quantum.inputs}
        absent: dict[str, list[Absent]] = {name: [] for name in quantum.inputs}
        for connection, item in inputs.of(quantum):
            if item.producer in inputs.own:
                path = top / own[item.id].local
                given[connection].append(Input(item.type, item.data_id, path, item.format))
                continue
            seen = inputs.see(connection, item)
            if seen.state == State.MADE:
                given[connection].append(Input(item.type, item.data_id, _there(seen, top), item.format))
            else:
                absent[connection].append(Absent(item.type, item.data_id, str(seen.state), seen.code))
        outputs: Mapping[str, tuple[Output, ...]] = {
            name: tuple(
                Output(o.type, o.data_id, top / o.local, o.format)
                for o in (manifest.outputs[i] for i in connection.datasets)
            )
            for name, connection in quantum.outputs.items()
            if not name.startswith("_")
        }
        yield Quantum(
            quantum.task, dict(quantum.data_id), seed_of(quantum.recipe),
            {n: tuple(v) for n, v in given.items()}, {n: tuple(v) for n, v in absent.items()}, outputs,
        )  # fmt: skip


def _there(seen: Seen, top: Path) -> Path:
    """Give where an input lies; a member of a tar is brought out first."""
    path = top / seen.item.local
    source = seen.sources[0]
    if isinstance(source.store, Members) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        got = source.store.fetch(source.name, path)
        if got != (seen.size, seen.sha256):
            path.unlink()
            raise lost_input(f"{source.name} has other bytes", input_in_words(seen.item))
        path.chmod(0o444)
    if not path.is_file():
        raise lost_input(f"{path} is not there", input_in_words(seen.item))
    return path
