"""What tests that kill ingests share: a campaign of FITS and JSON outputs, children that die when told, what is left."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from prestow.commit import receipt_name
from prestow.formats import Story, open_format
from prestow.formats.fits_cards import BLOCK, card
from prestow.manifest import Receipt, ReceiptOutput
from prestow.model.hashing import canonical_json, dataset_id, digest128, quantum_id

HERE = Path(__file__).parent

spec = importlib.util.spec_from_file_location("ingest_campaign", HERE.parent / "ingest_campaign.py")
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)
make, comparable, RUN = ingest_campaign.make, ingest_campaign.comparable, ingest_campaign.RUN

FULL = os.environ.get("PRESTOW_FAULTS") == "full"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
FRAME = b"".join(
    (card("SIMPLE", True), card("BITPIX", 16), card("NAXIS", 1), card("NAXIS1", 20), b"END".ljust(80))
).ljust(BLOCK) + bytes(BLOCK)  # fmt: skip


def produce(store, outputs):
    """Commit about so many outputs of a small pipeline, a third of the quanta not promoted. Gives the receipts."""
    receipts, planes, count = [], [], 0
    while count < outputs - 1:
        number = len(planes)
        home, ids = number % 3 != 0, {"instrument": "sim", "visit": 1 + number // 4, "detector": number % 4}
        isr = make(store, "isr", ids, ["postisr", "mask"], suffix="fits", source_bytes=FRAME, home=home)
        state = {5: "declined", 9: "lost"}.get(number, "made")
        planes.append(make(store, "align", ids, ["aligned"], inputs=[isr], state=state, home=number % 4 != 0))
        receipts += [isr, planes[-1]]
        count += 3 if state == "made" else 2
    receipts.append(
        make(store, "coadd", {"instrument": "sim", "band": "g"}, ["coadd"], inputs=planes[:20], lost=["x"])
    )
    return receipts


def produce_many(store, count):
    """Commit so many FITS files of one task, all promoted: quicker, for many. Gives the receipts."""
    root = os.fspath(store.local_path("a"))[:-2]
    with tempfile.TemporaryDirectory() as directory:
        given = Path(directory, "given.fits")
        given.write_bytes(FRAME)
        return [_one_of_many(root, given, number) for number in range(count)]


def _one_of_many(root, given, number):
    data_id = {"instrument": "sim", "visit": number // 60, "detector": number % 60}
    recipe = digest128("test", canonical_json(data_id))
    ident, quantum = dataset_id("postisr", RUN, data_id), quantum_id("isr", RUN, data_id)
    story = Story(
        type="postisr", id=ident, run=RUN, data_id=canonical_json(data_id), task="isr", version="v1", recipe=recipe,
        planned_recipe=recipe, planned=0, used=0,
    )  # fmt: skip
    name = f"{RUN}/postisr/{number // 1000}/{number}.fits"
    os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
    with open(f"{root}/{name}", "xb") as sink:
        stamped = open_format("fits").stamp(given, sink, story)
    output = ReceiptOutput(
        ident, "postisr", data_id, "fits", name, "made", None, stamped.size, stamped.sha256, stamped.content
    )
    receipt = Receipt(
        quantum=quantum, task="isr", run=RUN, data_id=data_id, job="j", state="made", planned_recipe=recipe,
        actual_recipe=recipe, attempt="a", version="v1", outputs=(output,),
    )  # fmt: skip
    path = f"{root}/{receipt_name(RUN, 'isr', quantum)}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(receipt.to_json())
    return receipt


def made(receipts):
    return [o for r in receipts if r.state == "made" for o in r.outputs if o.state == "made"]


def tree(root):
    """Give what a store holds, by name: digests of the bytes."""
    root = os.fspath(root)
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = f"{directory}/{name}"
            if ".prestow-tmp-" in name:
                continue  # of what was killed: no name of the store
            with open(path, "rb") as file:
                found[path[len(root) + 1 :]] = hashlib.sha256(file.read()).hexdigest()
    return found


class Children:
    """A server that forks ingests; a context."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "fork_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ingest(
        self, url, root, *, step=None, after=None, processes=1, level="full", batch=60, raw=None, kinds=False
    ):
        """Ingest in a child, which dies before a step, or so many seconds after it was reached. Gives exit code, steps, seconds.

        With ``raw`` it takes in the raw files of that directory, else the outputs in the store. With ``kinds`` it
        tells of each step what it was.
        """
        task = {"url": url, "uri": f"file://{root}", "step": step, "after": after, "processes": processes,
                "level": level, "batch": batch, "raw": raw, "kinds": kinds}  # fmt: skip
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def in_memory():
    """A directory in memory where there is one: a thousand runs would wait for the disk otherwise."""
    return tempfile.TemporaryDirectory(dir=MEMORY)


def copied(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)
    return target
