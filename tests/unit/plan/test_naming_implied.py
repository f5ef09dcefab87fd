"""Names that say what a data ID implies: the band of a visit, its night."""

from dataclasses import replace

from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction

STORES = {"output": "file:///output", "archive": "file:///archive"}


def pipeline():
    shape = "{run}/isr/{day_obs}/{band}/isr-{visit:06d}-{detector:03d}-{instrument}.fits"
    isr = dataset_type("isr", "visit", "detector", template=shape)
    made = reduction()
    return replace(made, dataset_types={**made.dataset_types, "isr": isr})


def test_a_template_may_name_what_a_data_id_implies(tmp_path):
    plan = build_plan(Request("demo", pipeline(), UNIVERSE, ("raw",)), Survey.make(2, 2))
    paths = set(plan.files().filter(type="isr")["path"])
    assert "demo/isr/20260000/r/isr-000001-000-sim.fits" in paths
    assert len(paths) == 4
    there = open_plan(write_plan(plan, tmp_path / "plans"))
    job = there.find_job("align:visit=1,detector=0,instrument=sim")
    (manifest,) = manifests(there, [job], store="output", stores=STORES)
    assert manifest.inputs[0].local == "inputs/isr/demo/isr/20260000/r/isr-000001-000-sim.fits"
