"""One pre-flight says all that would go wrong at night; and where nothing would, it says nothing."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from pathlib import Path

import polars as pl
import pytest

from prestow.model.instants import instant
from prestow.project import Project
from prestow.registry import Registry
from prestow.testing.surveys import UNIVERSE, Survey, exist, fill

DAY = 86_400_000_000_000
FIRST = instant("2026-01-01")
NEVER = 400  # days

PROJECT = """
schema: prestow.project/1
registry: sqlite:///registry.db
store: store
pipeline: pipeline.yaml
"""

PIPELINE = """
schema: prestow.pipeline/1
name: planted
code: [steps.py]
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  bias: {dimensions: [day_obs, detector], format: fits, calibration: true}
  flat: {dimensions: [physical_filter, detector], format: fits}
  catalogue: {dimensions: [instrument], format: fits}
  isr: {dimensions: [visit, detector], format: fits}
  sources: {dimensions: [visit], format: fits}
tasks:
  isr:
    dimensions: [visit, detector]
    run: steps:run
    preflight: steps:vet
    inputs:
      raw: raw
      bias: bias
      flat: {type: flat, prerequisite: true}
    outputs: {isr: isr}
    hints: {output_bytes: 8 MB}
  gather:
    dimensions: [visit]
    run: steps:run
    inputs: {isr: {type: isr, minimum: 1}, catalogue: catalogue}
    outputs: {sources: sources}
    hints: {output_bytes: 1 MB}
"""

STEPS = """
from prestow.tasks import Preflight

def vet(view):
    quanta = view.describe(view.quanta, "visit.airmass")
    return Preflight(keep=quanta["visit.airmass"] < 3, code="too_low")

def run(quantum):
    return {}
"""

SITE = """
schema: prestow.site/1
name: here
engine: local
stores:
  archive: {quota: %s}
"""


@dataclass(frozen=True)
class Campaign:
    """A survey to be planned: what there is, and when which bias is valid.

    Parameters
    ----------
    filters : mapping of visit to filter
        Visits 1, 2, 3, …; visit n is of day n.
    biases : sequence of (night, detector, first day, last day)
        The bias of a night, and the days on which it is valid, the last one not. Detector None is all of them.
    airmass : mapping of visit to float
        1.2 where it says nothing.
    """

    filters: Mapping[int, str]
    detectors: int
    biases: tuple[tuple[int, int | None, int, int], ...]
    airmass: Mapping[int, float] = field(default_factory=dict)
    lost_flats: frozenset[tuple[str, int]] = frozenset()

    def survey(self, instrument: str) -> Survey:
        """Give what its registry holds."""
        made = Survey.make(len(self.filters), self.detectors, bands="gri", instrument=instrument)
        visits = sorted(self.filters)
        facts = pl.DataFrame(
            {
                "visit": visits,
                "physical_filter": [f"{self.filters[v]}_{instrument}" for v in visits],
                "begin": [FIRST + v * DAY for v in visits],
                "end": [FIRST + v * DAY + DAY // 1000 for v in visits],
                "airmass": [self.airmass.get(v, 1.2) for v in visits],
            }
        )
        visit = made.records["visit"].drop("physical_filter").join(facts, on="visit")
        ids = {
            name: frame.select(d for d in frame.columns if d in UNIVERSE.dimensions)
            for name, frame in made.existing.items()
        }
        kept = [
            (name[0], number) not in self.lost_flats
            for name, number in ids["flat"].select("physical_filter", "detector").iter_rows()
        ]
        nights = pl.DataFrame({"day_obs": sorted({night for night, *_ in self.biases})})
        bias = ids["bias"].join(nights, how="cross")
        catalogue = exist("catalogue", pl.DataFrame({"instrument": [instrument]}))
        existing = {
            "raw": exist("raw", ids["raw"]), "bias": exist("bias", bias), "flat": exist("flat", ids["flat"].filter(kept)),
            "catalogue": catalogue.with_columns(store=pl.lit("catalogues")),
        }  # fmt: skip
        records = {**made.records, "visit": visit, "exposure": visit.rename({"visit": "exposure"})}
        return replace(made, existing=existing, records=records)


def make(root: Path, *campaigns: Campaign, quota: str = "1 TB", catalogues_at: str = "") -> Path:
    """Write a project, with a registry in which all these campaigns stand, each with an instrument of its own."""
    root.mkdir()
    for name, text in (("prestow", PROJECT), ("pipeline", PIPELINE), ("site", SITE % quota)):
        (root / f"{name}.yaml").write_text(text)
    (root / "steps.py").write_text(STEPS)
    survey = reduce(Survey.and_of, (campaign.survey(f"sim{i}") for i, campaign in enumerate(campaigns)))
    for name, frame in survey.existing.items():
        (root / "store" / name).mkdir(parents=True)
        for path in frame["path"]:
            (root / "store" / path).touch()
    with Registry.open(f"sqlite:///{root}/registry.db", UNIVERSE, create=True) as registry:
        registry.register_store("catalogues", catalogues_at or f"file://{root}/store")
        fill(registry, survey)
        registry.move_store("archive", f"file://{root}/store")
    with Project.open(root) as project:
        for night, detector, *days in dict.fromkeys(chain.from_iterable(c.biases for c in campaigns)):
            words = {"day_obs": night} | ({} if detector is None else {"detector": detector})
            begin, end = (_day(day) for day in days)
            project.certify("calib", "bias", words, begin=begin, end=end, known_from="2026-01-01")
    return root


def _day(number: int) -> str:
    from datetime import date, timedelta

    return (date(2026, 1, 1) + timedelta(days=number)).isoformat()


PLANTED = Campaign(
    filters={v: "i" if v <= 4 else "gr"[v % 2] for v in range(1, 25)},
    detectors=4,
    biases=(
        (20260101, None, 0, 13),
        *((20260113, d, 13, NEVER) for d in range(3)),
        (20260113, 3, 15, NEVER),  # a gap: of detector 3 none is valid on days 13 and 14
        (20260105, 1, 5, 7),  # and two overlaps
        (20260111, 0, 11, 13),
    ),
    airmass={v: 5.0 for v in range(20, 25)},
    lost_flats=frozenset({("i", 0), ("i", 1), ("i", 2)}),
)


HELD = ((20260101, None, 0, NEVER),)
"""One bias of each detector, valid throughout."""


@pytest.fixture(scope="module")
def told(inside, tmp_path_factory):
    """What one pre-flight of the planted registry says: the whole of each problem, by what it begins with."""
    root = make(
        tmp_path_factory.mktemp("told") / "planted",
        PLANTED,
        quota="1 kB",
        catalogues_at="file:///nowhere/at/all",
    )
    before = sorted(root.rglob("*"))
    answer = inside("plan", "--input", "raw", "--site", "site.yaml", "--json", cwd=root, ok=False)
    assert answer.code == 4
    assert [path for path in sorted(root.rglob("*")) if path not in before] == []
    return [(problem["code"], problem["what"]) for problem in answer.json["problems"]]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("PST-P020", ("12 quanta of isr", "missing:flat", "detector=0,instrument=sim0,visit=1", "and 7 more")),
        ("PST-P020", ("2 quanta of isr", "calibration_gap:bias", "detector=3,instrument=sim0,visit=13", "visit=14")),
        ("PST-P021", ("4 quanta of isr", "calibration_overlap:bias", "detector=1,instrument=sim0,visit=5", "visit=11")),
        ("PST-P029", ("20 quanta of isr", "hook:too_low", "detector=0,instrument=sim0,visit=20", "and 15 more")),
        ("PST-F001", ("quota of 'archive' has", "left, and at least")),
        ("PST-F003", ("store 'catalogues' cannot be read", "1 input", "catalogue{instrument=sim0}")),
    ],
)  # fmt: skip
def test_each_thing_that_is_planted_is_told_with_count_and_first_data_ids(told, code, says):
    assert len(told) == 6
    assert [what for kind, what in told if kind == code and all(words in what for words in says)]


def test_each_flat_that_is_missing_is_named(tmp_path):
    """Waived, the plan is made, and its table of what is left out has every quantum with what it lacks."""
    root = make(tmp_path / "waived", replace(PLANTED, biases=HELD))
    with Project.open(root) as project:
        plan = project.plan(inputs=["raw"], site=root / "site.yaml", waive=["missing:flat@isr"])
        left = plan.tables["left_out"].filter(pl.col("task").cast(pl.String) == "isr")
    lacking = left.filter(pl.col("reason").cast(pl.String) == "missing:flat")["detail"].unique().sort()
    wanted = [f"no flat with detector={d},instrument=sim0,physical_filter=i_sim0" for d in range(3)]
    assert lacking.cast(pl.String).to_list() == wanted
    vetoed = left.filter(pl.col("reason").cast(pl.String) == "hook:too_low")
    visits = {json.loads(text)["visit"] for text in vetoed["data_id"]}
    assert visits == {20, 21, 22, 23, 24}


def clean(seed: int) -> list[Campaign]:
    """Give ten campaigns without a fault: every flat is there, and validities follow one upon the other."""
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, 25), chance.randint(0, 3)))
    edges = zip([0, *cuts], [*cuts, NEVER], strict=True)
    biases = tuple((20260101 + i, None, *days) for i, days in enumerate(edges))
    return [
        Campaign(
            {v: chance.choice("gri") for v in range(1, chance.randint(1, 24) + 1)},
            chance.randint(1, 4),
            biases,
        )
        for _ in range(10)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_ten_clean_campaigns_are_not_refused(seed, tmp_path):
    """Ten times ten: a hundred in all, with visits, filters, detectors and validities at random."""
    campaigns = clean(seed)
    root = make(tmp_path / "clean", *campaigns)
    with Project.open(root) as project:
        plan = project.plan(inputs=["raw"], site=root / "site.yaml", dry_run=True)
    quanta = {task: counts["quanta"] for task, counts in plan.counts.items()}
    isr = sum(len(campaign.filters) * campaign.detectors for campaign in campaigns)
    assert quanta == {"isr": isr, "gather": sum(len(campaign.filters) for campaign in campaigns)}
    assert plan.tables["left_out"].height == 0
