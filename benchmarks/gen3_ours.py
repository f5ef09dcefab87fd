"""The survey of `gen3.py` in a registry of prestow; its verbs are ``make DIR VISITS DETECTORS`` and ``build DIR INTO``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from prestow.naming.universe import load_universe
from prestow.plan import Request, build_plan, write_plan
from prestow.registry import Registry


def make(folder: Path, visits: int, detectors: int) -> None:
    """Fill a registry with so many visits of so many detectors."""
    import polars as pl
    import survey

    sky = survey.make_sky(visits, 0, 1)
    sky = survey.Sky(sky.visits, sky.pairs.clear(), sky.raws.filter(pl.col("detector") < detectors))
    with Registry.open(f"sqlite:///{folder}/registry.db", load_universe(), create=True) as registry:
        survey.fill(registry, sky, chips=detectors)


def build(folder: Path, into: Path) -> None:
    """Make the plan and write it."""
    from prestow.pipeline.definition import Pipeline
    from prestow.testing.surveys import dataset_type, task

    frame, detector = ("exposure", "detector"), ("visit", "detector")
    types = (
        dataset_type("raw", *frame, template=""),
        dataset_type("bias", "detector", template=""),
        dataset_type("flat", "physical_filter", "detector", template=""),
        dataset_type(
            "isr", *frame, template="{run}/isr/{exposure}/isr_{instrument}_{exposure}_{detector:03d}.fits"
        ),
        dataset_type(
            "calexp",
            *detector,
            template="{run}/calexp/{visit}/calexp_{instrument}_{visit}_{detector:03d}.fits",
        ),
        dataset_type("sources", "visit"),
    )
    tasks = (
        task("isr", frame, ["raw", "bias", "flat"], ["isr"]),
        task("calibrate", detector, ["isr"], ["calexp"]),
        task("gather", ("visit",), ["calexp"], ["sources"]),
    )
    universe = load_universe()
    pipeline = Pipeline("survey", "", tasks, {kind.name: kind for kind in types})
    request = Request("bench", pipeline, universe, ("raw", "calib"), where="instrument = 'simcam'")
    with Registry.open(f"sqlite:///{folder}/registry.db", universe, read_only=True) as registry:
        plan = build_plan(request, registry)
    write_plan(plan, into)
    print(plan.document["totals"]["quanta"])


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        build(Path(sys.argv[2]), Path(sys.argv[3]))
