"""A campaign for the benchmark of ingest: FITS products as a node leaves them, with stories and receipts.

One half is made from raw frames, the other half from the first. Written without waiting for the disk.
"""

from __future__ import annotations

import io
import os
import sys
import time
from multiprocessing import get_context
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from prestow.commit import receipt_name  # noqa: E402 - the house beside this file, installed or not
from prestow.formats import Story, StoryInput, StoryRoot, open_format  # noqa: E402
from prestow.formats.fits_cards import BLOCK, card, finish_header, padded  # noqa: E402
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput, Root  # noqa: E402
from prestow.model.hashing import canonical_json, dataset_id, digest128, quantum_id, sha256_hex  # noqa: E402
from prestow.stores.file import FileStore  # noqa: E402

RUN = "bench"
DETECTORS = 100
ROWS, COLUMNS = 220, 218
DELAY = 0.02


class SlowStore(FileStore):
    """A directory each of whose calls takes 20 ms longer."""

    def __getattribute__(self, name: str):
        if name in (
            "read",
            "size",
            "digest",
            "fetch",
            "create",
            "put_if_absent",
            "move",
            "delete",
            "walk",
            "local_path",
        ):
            time.sleep(DELAY)
        return super().__getattribute__(name)


def science(number: int) -> bytes:
    """Give a frame of some 200 kB: a primary header as cameras write them, and one image."""
    cards = [card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True)]
    cards += [card(f"CAMERA{n:02}", n * 1000 + number, "a fact of the exposure") for n in range(24)]
    cards += [card("OBJECT", f"field {number % 17}"), card("FILTER", "g"), card("EXPTIME", 30)]
    image = [
        card("XTENSION", "IMAGE"), card("BITPIX", -32), card("NAXIS", 2), card("NAXIS1", COLUMNS), card("NAXIS2", ROWS),
        card("PCOUNT", 0), card("GCOUNT", 1), card("EXTNAME", "SCI"), card("BUNIT", "electron"),
    ]  # fmt: skip
    data = (number.to_bytes(4, "big") * (COLUMNS * ROWS)).ljust(padded(COLUMNS * ROWS * 4), b"\0")
    assert len(data) % BLOCK == 0
    return finish_header(b"".join(cards), 0) + finish_header(b"".join(image), 0) + data


def made(store: Path, scratch: Path, number: int, parent: Receipt | None = None) -> Receipt:
    """Write one product at its planned name, and its receipt; give that."""
    task, kind = ("isr", "postisr") if parent is None else ("calibrate", "calexp")
    data_id = {"instrument": "sim", "visit": 1000 + number // DETECTORS, "detector": number % DETECTORS}
    quantum = quantum_id(task, RUN, data_id)
    planned = digest128("bench", task, canonical_json(data_id))
    raw = dataset_id("raw", "raw", data_id)
    inputs = [
        ReceiptInput("raw", raw, "raw", data_id, "raw", "made", None, sha256_hex(raw.encode()), planned, planned)
        if parent is None
        else ReceiptInput(
            "exposure", parent.outputs[0].id, "postisr", data_id, RUN, "made", None, parent.outputs[0].sha256,
            parent.planned_recipe, parent.actual_recipe,
        )
    ]  # fmt: skip
    ident = dataset_id(kind, RUN, data_id)
    text = canonical_json(data_id)
    story = Story(
        type=kind, id=ident, run=RUN, data_id=text, task=task, version="0" * 64, recipe=planned, planned_recipe=planned,
        planned=1, used=1, roots=(StoryRoot("raw", text, raw),),
        inputs=tuple(
            StoryInput(i.connection, i.type, text, i.id, sha256=i.sha256 or "", recipe=i.actual_recipe or "") for i in inputs
        ),
    )  # fmt: skip
    scratch.write_bytes(science(number))
    sink = io.BytesIO()
    stamped = open_format("fits").stamp(scratch, sink, story)
    path = f"{RUN}/{kind}/{data_id['visit']}/{kind}-{data_id['visit']}-{data_id['detector']:03}.fits"
    receipt = Receipt(
        quantum=quantum, task=task, run=RUN, data_id=data_id, job=f"{task}-{number}", state="made", planned_recipe=planned,
        actual_recipe=planned, attempt=raw, version="0" * 64, inputs=tuple(inputs), roots=(Root("raw", data_id, raw),),
        outputs=(
            ReceiptOutput(
                ident, kind, data_id, "fits", path, "made", f"_aside/{quantum}/{raw}/0", stamped.size, stamped.sha256,
                stamped.content,
            ),
        ),
        measures={"cpu_seconds": 1.5, "memory": 400_000_000},
    )  # fmt: skip
    put(store / path, sink.getvalue())
    put(store / receipt_name(RUN, task, quantum), receipt.to_json().encode())
    return receipt


def put(path: Path, data: bytes) -> None:
    """Write one file."""
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def part(store: str, numbers: range) -> int:
    """Make some of the pairs; give how many files."""
    scratch = Path(store, f".scratch-{os.getpid()}")
    for number in numbers:
        made(Path(store), scratch, number, made(Path(store), scratch, number))
    scratch.unlink(missing_ok=True)
    return 2 * len(numbers)


def campaign(store: Path, files: int) -> int:
    """Make a campaign of so many files; give how many."""
    store.mkdir(parents=True, exist_ok=True)
    workers = os.cpu_count() or 1
    with get_context("spawn").Pool(workers) as pool:
        return sum(
            pool.starmap(part, [(str(store), range(first, files // 2, workers)) for first in range(workers)])
        )


if __name__ == "__main__":
    print(campaign(Path(sys.argv[1]), int(sys.argv[2])))
