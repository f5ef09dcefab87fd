"""The survey of `gen3.py` in a Gen3 repository: run by an environment that has lsst-pipe-base, never by prestow's.

Its verbs are ``make ROOT VISITS DETECTORS`` and ``build ROOT OUT``; ``build`` is what is measured.
"""

import sys
from pathlib import Path

import lsst.pipe.base.connectionTypes as cT
from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetRef,
    DatasetType,
    FileDataset,
    Timespan,
)
from lsst.pipe.base import (
    Pipeline,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
)
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder

CAMERA, KIND = "simcam", "StructuredDataDict"
BANDS = "ugrizy"


class IsrConnections(PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    raw = cT.Input(
        name="raw", doc="raw", storageClass=KIND, dimensions=("instrument", "exposure", "detector")
    )
    bias = cT.PrerequisiteInput(
        name="bias", doc="bias", storageClass=KIND, dimensions=("instrument", "detector"), isCalibration=True
    )
    flat = cT.PrerequisiteInput(
        name="flat",
        doc="flat",
        storageClass=KIND,
        dimensions=("instrument", "detector", "physical_filter"),
        isCalibration=True,
    )
    isr = cT.Output(
        name="isr", doc="isr", storageClass=KIND, dimensions=("instrument", "exposure", "detector")
    )


class IsrConfig(PipelineTaskConfig, pipelineConnections=IsrConnections):
    pass


class IsrTask(PipelineTask):
    ConfigClass = IsrConfig
    _DefaultName = "isr"


class CalibrateConnections(PipelineTaskConnections, dimensions=("instrument", "visit", "detector")):
    isr = cT.Input(
        name="isr",
        doc="isr",
        storageClass=KIND,
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
    )
    calexp = cT.Output(
        name="calexp", doc="calexp", storageClass=KIND, dimensions=("instrument", "visit", "detector")
    )


class CalibrateConfig(PipelineTaskConfig, pipelineConnections=CalibrateConnections):
    pass


class CalibrateTask(PipelineTask):
    ConfigClass = CalibrateConfig
    _DefaultName = "calibrate"


class GatherConnections(PipelineTaskConnections, dimensions=("instrument", "visit")):
    calexp = cT.Input(
        name="calexp",
        doc="calexp",
        storageClass=KIND,
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
    )
    sources = cT.Output(name="sources", doc="sources", storageClass=KIND, dimensions=("instrument", "visit"))


class GatherConfig(PipelineTaskConfig, pipelineConnections=GatherConnections):
    pass


class GatherTask(PipelineTask):
    ConfigClass = GatherConfig
    _DefaultName = "gather"


def make(root: str, visits: int, detectors: int) -> None:
    """Make a repository with so many visits of so many detectors."""
    Butler.makeRepo(root)
    butler = Butler.from_config(root, writeable=True)
    registry = butler.registry
    here = {"instrument": CAMERA}
    with butler.transaction():
        registry.insertDimensionData(
            "instrument",
            {
                "name": CAMERA,
                "detector_max": detectors,
                "visit_max": 10**9,
                "exposure_max": 10**9,
                "class_name": "lsst.obs.base.Instrument",
            },
        )
        registry.insertDimensionData(
            "physical_filter", *({**here, "name": f"{band}_57", "band": band} for band in BANDS)
        )
        registry.insertDimensionData(
            "detector", *({**here, "id": number, "full_name": f"S{number}"} for number in range(detectors))
        )
        registry.insertDimensionData("day_obs", {**here, "id": 20260101})
        numbers = range(1, visits + 1)
        registry.insertDimensionData("group", *({**here, "name": str(n)} for n in numbers))
        common = [
            {
                **here,
                "id": n,
                "physical_filter": f"{BANDS[n % 6]}_57",
                "day_obs": 20260101,
                "exposure_time": 30.0,
            }
            for n in numbers
        ]
        registry.insertDimensionData(
            "exposure",
            *(
                {**row, "group": str(row["id"]), "obs_id": str(row["id"]), "timespan": _span(row["id"])}
                for row in common
            ),
        )
        registry.insertDimensionData("visit", *({**row, "name": str(row["id"])} for row in common))
        registry.insertDimensionData(
            "visit_definition", *({**here, "visit": n, "exposure": n} for n in numbers)
        )
        registry.insertDimensionData(
            "visit_detector_region",
            *({**here, "visit": n, "detector": d, "region": None} for n in numbers for d in range(detectors)),
        )
    _ingest(butler, Path(root).resolve(), visits, detectors)


def _span(number: int) -> Timespan:
    from astropy.time import Time, TimeDelta

    begin = Time(60000.0 + number / 1000, format="mjd", scale="tai")
    return Timespan(begin, begin + TimeDelta(30.0, format="sec"))


def _ingest(butler: Butler, root: Path, visits: int, detectors: int) -> None:
    dims = {
        "raw": ("instrument", "exposure", "detector"),
        "bias": ("instrument", "detector"),
        "flat": ("instrument", "detector", "physical_filter"),
    }
    ids = {
        "raw": [(n, d) for n in range(1, visits + 1) for d in range(detectors)],
        "bias": [(d,) for d in range(detectors)],
        "flat": [(d, f"{band}_57") for d in range(detectors) for band in BANDS],
    }
    names = {"raw": ("exposure", "detector"), "bias": ("detector",), "flat": ("detector", "physical_filter")}
    butler.collections.register("calib", CollectionType.CALIBRATION)
    for kind, dimensions in dims.items():
        made = DatasetType(kind, dimensions, KIND, universe=butler.dimensions, isCalibration=kind != "raw")
        butler.registry.registerDatasetType(made)
        run = f"{kind}s"
        butler.collections.register(run, CollectionType.RUN)
        folder = root.parent / f"{root.name}-files" / kind
        folder.mkdir(parents=True)
        files, refs = [], []
        for values in ids[kind]:
            data_id = butler.registry.expandDataId(
                {"instrument": CAMERA, **dict(zip(names[kind], values, strict=True))}
            )
            path = folder / ("-".join(map(str, values)) + ".yaml")
            path.write_text("{}\n")
            refs.append(DatasetRef(made, data_id, run=run))
            files.append(FileDataset(path=str(path), refs=[refs[-1]]))
        butler.ingest(*files, transfer="direct", record_validation_info=False)
        if kind != "raw":
            butler.registry.certify("calib", refs, Timespan(None, None))


def build(root: str, out: str) -> None:
    """Build the quantum graph and write it."""
    butler = Butler.from_config(root, writeable=False)
    pipeline = Pipeline("survey")
    for task, label in ((IsrTask, "isr"), (CalibrateTask, "calibrate"), (GatherTask, "gather")):
        pipeline.addTask(task, label)
    graph = pipeline.to_graph(registry=butler.registry)
    builder = AllDimensionsQuantumGraphBuilder(
        graph,
        butler,
        input_collections=["raws", "calib"],
        output_run="bench",
        where=f"instrument = '{CAMERA}'",
    )
    made = builder.finish()
    made.write(out)
    print(made.header.n_quanta)


def main() -> None:
    """Do one verb."""
    verb, root, *rest = sys.argv[1:]
    if verb == "make":
        make(root, int(rest[0]), int(rest[1]))
    else:
        build(root, rest[0])
