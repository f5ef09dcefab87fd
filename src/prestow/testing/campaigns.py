"""A small campaign over JSON files, planned for real, whose tasks fail, decline and die as told.

Each visit's raw file says what shall happen to it on its way through three tasks: ``double`` and
``shift`` for each visit, ``gather`` over all of them.

Examples
--------
>>> import tempfile
>>> from prestow.engines import open_engine
>>> with tempfile.TemporaryDirectory() as directory:
...     campaign = Campaign(directory, visits=3)
...     result = campaign.run(open_engine("local"))
...     result.counts, int(result.exit_code), campaign.product("total")["flux"]
({'made': 7}, 0, 15)
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.model.hashing import canonical_json, dataset_id, sha256_hex

if TYPE_CHECKING:
    from prestow.engines import Engine
    from prestow.engines.running import RunResult
    from prestow.plan import Plan
    from prestow.registry import Registry

TASKS = """
import os
import signal
import time

from prestow.tasks import NothingToDo


def _behave(value, label):
    do = value["do"].get(label, {})
    if "sleep" in do:
        time.sleep(do["sleep"])
    if "decline" in do:
        raise NothingToDo(do["decline"])
    if "times" in do:  # so often it shall happen: one file for each time
        for n in range(do["times"]):
            try:
                os.close(os.open(f"{do['count']}-{label}-{value['visit']}-{n}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            break
        else:
            return
    while os.path.exists(do.get("until_gone", "")):
        time.sleep(0.05)
    if "while" in do and not os.path.exists(do["while"]):
        return
    if "on" in do and os.environ.get("PRESTOW_HOST") != do["on"]:
        return
    if do.get("what") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do.get("what") == "fail":
        print("looking for stars")
        raise ValueError("no stars above 5 sigma")


def double(quantum):
    value = quantum.get("raw")
    _behave(value, "double")
    quantum.put("doubled", {**value, "flux": 2 * value["flux"]})


def shift(quantum):
    value = quantum.get("doubled")
    _behave(value, "shift")
    quantum.put("shifted", {**value, "flux": value["flux"] + 1})


def gather(quantum):
    found = [quantum.get("shifted", **item.data_id) for item in quantum.inputs["shifted"]]
    absent = [[item.data_id["visit"], item.state, item.code] for item in quantum.absent["shifted"]]
    quantum.put("total", {"flux": sum(v["flux"] for v in found), "visits": [v["visit"] for v in found], "absent": absent})
"""

PIPELINE = """
schema: prestow.pipeline/1
name: toy
code: [toytasks.py]
dataset_types:
  raw: {{dimensions: [visit], format: json}}
  doubled: {{dimensions: [visit], format: json}}
  shifted: {{dimensions: [visit], format: json}}
  total: {{dimensions: [instrument], format: json}}
tasks:
  double: {{dimensions: [visit], run: "toytasks:double", inputs: {{raw: raw}}, outputs: {{doubled: doubled}}, on_failure: {double}, tries: {tries}}}
  shift: {{dimensions: [visit], run: "toytasks:shift", inputs: {{doubled: doubled}}, outputs: {{shifted: shifted}}, on_failure: {shift}, tries: {tries}}}
  gather:
    dimensions: [instrument]
    run: toytasks:gather
    inputs: {{shifted: {{type: shifted, minimum: {minimum}}}}}
    outputs: {{total: total}}
{clusters}
"""

PROJECT = """
schema: prestow.project/1
registry: sqlite:///registry.db
store: store
pipeline: pipeline.yaml
"""


class Campaign:
    """A project's worth of things in a directory: store, registry, pipeline, plan.

    Parameters
    ----------
    directory : path
        Made where it is not there.
    visits : int
        How many raw files; visit ``n`` has the flux ``n``.
    do : mapping of visit to mapping of task to mapping
        What shall happen: ``{"what": "fail"|"kill", "while": path, "times": n, "count": path,
        "decline": code, "sleep": seconds, "until_gone": path,
        "on": host}``.
    double, shift : str
        ``stop`` or ``tolerate``.
    clustered : bool
        Let ``double`` and ``shift`` of a visit run in one job.
    pipeline : str or None
        Another pipeline over the same raw files and tasks.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        visits: int = 3,
        do: Mapping[int, Mapping[str, Mapping[str, Any]]] | None = None,
        double: str = "stop",
        shift: str = "stop",
        minimum: str | int = "all",
        tries: int = 1,
        clustered: bool = False,
        pipeline: str | None = None,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stores = {"archive": f"file://{self.directory}/store"}
        clusters = "clusters: {per_visit: {tasks: [double, shift], dimensions: [visit]}}" if clustered else ""
        text = PIPELINE.format(double=double, shift=shift, minimum=minimum, tries=tries, clusters=clusters)
        (self.directory / "pipeline.yaml").write_text(pipeline or text)
        (self.directory / "toytasks.py").write_text(TASKS)
        (self.directory / "prestow.yaml").write_text(PROJECT)
        if not (self.directory / "registry.db").exists():
            with self.registry(create=True) as registry:
                self._take_in(registry, visits, do or {})

    def registry(self, *, create: bool = False) -> Registry:
        """Open the registry."""
        from prestow.naming.universe import load_universe
        from prestow.registry import Registry

        return Registry.open(f"sqlite:///{self.directory}/registry.db", load_universe(), create=create)

    def _take_in(self, registry: Registry, visits: int, do: Mapping[int, Any]) -> None:  # Any: JSON values
        import pyarrow as pa

        from prestow.model import DatasetType
        from prestow.registry import DatasetBatch
        from prestow.stores import open_store

        store = open_store(self.stores["archive"])
        registry.register_store("archive", self.stores["archive"])
        registry.register_run("raw-toy")
        registry.register_dataset_type(DatasetType("raw", ("instrument", "visit"), "json"))
        rows, files = [], []
        for visit in range(1, visits + 1):
            data = canonical_json({"flux": visit, "visit": visit, "do": do.get(visit, {})}).encode()
            name, digest = f"raw/toy/raw-{visit}.json", sha256_hex(data)
            store.put_if_absent(name, data)
            key = uuid.UUID(dataset_id("raw", "raw-toy", {"instrument": "toy", "visit": visit})).bytes
            rows.append(
                {
                    "instrument": "toy",
                    "visit": visit,
                    "id": key,
                    "run": "raw-toy",
                    "recipe": bytes.fromhex(digest[:32]),
                }
            )
            files.append({
                "dataset": key, "store": "archive", "path": name, "member": None, "size": len(data), "sha256": digest,
                "content": digest, "format": "json",
            })  # fmt: skip
        days = pa.table({"instrument": ["toy"], "day_obs": [20260101]})
        filters = pa.table({"instrument": ["toy"], "physical_filter": ["clear"], "band": ["w"]})
        records = pa.table(
            {
                "instrument": ["toy"] * visits,
                "visit": list(range(1, visits + 1)),
                "physical_filter": ["clear"] * visits,
                "day_obs": [20260101] * visits,
            }
        )
        registry.insert_raw(
            DatasetBatch({"raw": pa.Table.from_pylist(rows)}, artifacts=pa.Table.from_pylist(files)),
            dimensions={
                "instrument": pa.table({"instrument": ["toy"]}), "band": pa.table({"band": ["w"]}),
                "physical_filter": filters, "day_obs": days, "visit": records,
            },
            relations={},
        )  # fmt: skip

    def plan(self, run: str = "toy", *, child_of: str | None = None) -> Plan:
        """Plan everything into a run, and write the plan."""
        from prestow.naming.universe import load_universe
        from prestow.pipeline import load_pipeline
        from prestow.plan import Request, build_plan, open_plan, write_plan

        pipeline = load_pipeline(self.directory / "pipeline.yaml", load_universe())
        chain = ("raw-toy", *([child_of] if child_of else []))
        with self.registry() as registry:
            registry.register_run(run)
            if child_of is not None:
                registry.add_parent(run, child_of)
            plan = build_plan(
                Request(run, pipeline, load_universe(), chain=chain, child_of=child_of, store="archive"),
                registry,
            )
        return open_plan(write_plan(plan, self.directory / "plans"))

    def run(self, engine: Engine, plan: Plan | None = None, **options: Any) -> RunResult:
        """Run what remains."""
        from prestow.engines.running import run_plan

        return run_plan(plan or self.plan(), engine=engine, stores=self.stores, **options)

    def product(
        self, dataset_type: str, run: str = "toy", **data_id: int
    ) -> dict[str, Any]:  # Any: JSON values
        """Read a product."""
        path = self.plan(run).path_of(dataset_type, instrument="toy", **data_id)
        value: dict[str, Any] = json.loads((self.directory / "store" / path).read_bytes())
        return value

    def products(self) -> dict[str, bytes]:
        """Give the bytes of everything in the store that people would look at, by name."""
        store = self.directory / "store"
        return {
            str(path.relative_to(store)): path.read_bytes()
            for path in sorted(store.rglob("*"))
            if path.is_file() and not path.relative_to(store).parts[0].startswith("_")
        }
