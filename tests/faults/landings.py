"""What tests of landings share: a folder as four real jobs left it, and a look at what is committed of it."""

from prestow.commit import each_receipt, landing_name
from prestow.stores.file import FileStore
from prestow.testing.carrier import Carrier
from prestow.testing.jobs import Jobs

PLAN = "0f" * 16

TASKS = """
from prestow.tasks import NothingToDo

def part(quantum, config):
    if config["what"] == "fail":
        raise ValueError("no stars")
    if config["what"] == "decline":
        raise NothingToDo("no_stars")
    quantum.put("y", {"v": 2 * quantum.get("x")["v"]})
    quantum.put("z", {"v": "side"})

def total(quantum):
    quantum.put("y", {"n": len(quantum.inputs["x"])})
"""


def landed_by_jobs(directory):
    """Land what four real jobs made, one of them lost and one declined. Gives the store, and who made what as a plan says it."""
    jobs = Jobs(directory)
    jobs.code(tasks=TASKS)
    made = []
    for visit, what in ((1, ""), (2, "fail"), (3, "decline")):
        raw = jobs.existing("raw", {"visit": visit}, {"v": visit})
        made.append(
            jobs.quantum("part", {"visit": visit}, entry="tasks:part", inputs={"x": [raw]}, outputs={"y": "json", "z": "json"},
                         config={"what": what}, tolerate=True)["y"]
        )  # fmt: skip
    jobs.quantum("total", {"band": "g"}, entry="tasks:total", inputs={"x": (made, 1)}, outputs={"y": "json"})
    carrier = Carrier([jobs.manifest()], jobs.directory / "carried", words=["--final"])
    assert carrier.run(), carrier.logs
    carrier.land(jobs.directory / "store" / landing_name(PLAN, 1))
    makers = {i.id: str(i.receipt) for i in jobs.manifest("total").inputs}
    return jobs.directory / "store", lambda datasets: {d: makers[d] for d in datasets if d in makers}


def whole(root, *, gone=()):
    """Look whether the archive has all that is committed, but for what a person took away, and nothing else."""
    store = FileStore(f"file://{root}")
    made = {}
    for _, receipt in each_receipt(store, "demo"):
        for output in receipt.outputs:
            places = [
                name
                for name in (output.path, output.aside)
                if store.digest(name) == (output.size, output.sha256)
            ]
            assert places or output.path in gone, f"the bytes of {output.path} are nowhere"
            made[output.path] = output
    for name, _ in store.walk("demo"):
        assert name in made, f"{name} is in the archive, and no receipt commits it"
        assert store.digest(name) == (made[name].size, made[name].sha256)
    return {r.quantum: r.state for _, r in each_receipt(store, "demo")}
