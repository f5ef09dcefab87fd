"""A job whose node does not see the output store: all that it makes is left in its directory, for an engine to carry.

The directory is the job's output store: parents' products and claims lie there under their logical names, and its own
are settled and promoted there as they are in any store. So a job takes the same steps as where it sees the
store, and makes the same bytes. What it leaves is a *claim*: a receipt that nobody has committed yet. The
commit is made where the store is seen (`prestow.ingest.landing`).

The engine carries every file that was declared. So a planned output that is not made has a tombstone at its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prestow.commit import ASIDE, ATTEMPTS, DIFFERENCES
from prestow.errors import Problem, TaskError
from prestow.manifest import CARRIED, Manifest, ManifestOutput, ManifestQuantum, Receipt
from prestow.node.packed import in_layout
from prestow.node.repository import remove_tree
from prestow.stores import check_name
from prestow.stores.file import FileStore
from prestow.tombstone import tombstone_of

_OWN = (ASIDE, ATTEMPTS, DIFFERENCES)
"""What the node leaves in the directory for itself: no engine knows of it."""


class Landing(FileStore):
    """The directory of a job as its output store: a name is a file under its logical name."""

    def __init__(self, manifest: Manifest, directory: Path) -> None:
        super().__init__(f"file://{directory.absolute()}")
        self._manifest = manifest

    def _path(self, name: str) -> str:
        check_name(name)
        if name.partition("/")[0] not in _OWN:
            name = in_layout(self._manifest, name)
        return f"{self._root}/{name}"


def landing_of(manifest: Manifest, directory: Path) -> tuple[Manifest, Landing]:
    """Give the manifest with its directory as the output store, and that store.

    Raises
    ------
    TaskError
        PST-N009 for a job that was staged flat: what an engine carries flat has other names.
    """
    if manifest.layout == "flat" and manifest.store == CARRIED:
        what = f"the job {manifest.job} was staged flat, and nothing can be landed of that"
        fix = "run it without --land: what it makes is left here all the same; or stage it again with --layout tree"
        raise TaskError(Problem("PST-N009", what, "--land", fix))
    store = Landing(manifest, directory)
    return replace(manifest, stores={**manifest.stores, manifest.store: store.uri}), store


def start_anew(manifest: Manifest, store: Landing) -> None:
    """Remove what an earlier execution of this very job left: nothing of it may pass for this one's."""
    for quantum in manifest.quanta:
        store.delete(quantum.receipt)
        for output in _outputs(manifest, quantum):
            store.delete(output.path)
    _remove_own(manifest, store)


def leave(manifest: Manifest, receipts: Mapping[str, Receipt], store: Landing) -> list[str]:
    """Leave products, claims and tombstones as an engine takes them on; give the products that are not there.

    An engine writes over what it has, so nothing stays read-only.
    """
    missing = []
    for quantum in manifest.quanta:
        receipt = receipts.get(quantum.id)
        if receipt is None:
            continue
        made = {o.id: o for o in receipt.outputs if o.state == "made"}
        for output in _outputs(manifest, quantum):
            if output.id not in made:
                stone = tombstone_of(receipt, output.id, output.type, output.data_id)
                _write(store, output.path, stone.to_json())
            elif store.size(output.path) == made[output.id].size:
                os.chmod(store.local_path(output.path), _mode())
            else:
                missing.append(output.path)
        claim = replace(receipt, outputs=tuple(replace(o, aside=None) for o in receipt.outputs))
        _write(store, quantum.receipt, claim.to_json())
    _remove_own(manifest, store)
    return missing


def _outputs(manifest: Manifest, quantum: ManifestQuantum) -> list[ManifestOutput]:
    return [manifest.outputs[i] for c in quantum.outputs.values() for i in c.datasets]


def _write(store: Landing, name: str, text: str) -> None:
    store.delete(name)
    store.put_if_absent(name, text.encode())
    os.chmod(store.local_path(name), _mode())


def _mode() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask | 0o600


def _remove_own(manifest: Manifest, store: Landing) -> None:
    """Remove asides and reports of this job alone: others may work in the same directory."""
    for name in (*(f"{ASIDE}/{q.id}" for q in manifest.quanta), f"{ATTEMPTS}/{manifest.job}"):
        path = os.fspath(store.local_path(name))
        remove_tree(path)
        try:  # noqa: SIM105 - contextlib is one more import on a node
            os.rmdir(os.path.dirname(path))
        except OSError:
            pass
