"""Landings of a real campaign: whatever an engine leaves, the archive has what receipts commit, and in the end all of it.

Jobs run as Pegasus starts them where nodes do not see the store; what they made is brought to landing folders, also
half of it, twice, late, or mixed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prestow.commit import each_receipt, landing_name
from prestow.engines import open_engine
from prestow.manifest import Manifest, Receipt
from prestow.plan import Plan
from prestow.plan.manifests import manifests
from prestow.stores import Store, open_store
from prestow.testing.campaigns import Campaign
from prestow.testing.carrier import Carrier
from prestow.tombstone import read_tombstone, tombstone_of

FAILS = {4: {"double": {"what": "fail"}}}
TOLERANT = {"do": FAILS, "double": "tolerate", "minimum": 2, "visits": 4, "clustered": True}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Give the products of the same campaign by the engine that sees the store."""
    campaign = Campaign(tmp_path_factory.mktemp("local"), **TOLERANT)
    campaign.run(open_engine("local"))
    return campaign.products()


def archive(campaign: Campaign) -> dict[str, bytes]:
    """Give what is at places of products, and see that all of that, and it alone, is committed."""
    store = open_store(campaign.stores["archive"])
    committed = {
        o.path: o.sha256 for _, r in each_receipt(store, "toy") for o in r.outputs if o.state == "made"
    }
    found = {name: data for name, data in campaign.products().items() if name.startswith("toy/")}
    assert {name: digest_of(store, name) for name in found} == {n: committed[n] for n in found}
    return found


def digest_of(store: Store, name: str) -> str:
    got = store.digest(name)
    assert got is not None
    return got[1]


def jobs_of(campaign: Campaign, plan: Plan) -> list[Manifest]:
    assert plan.code is not None
    open_store(campaign.stores["archive"]).put_if_absent(plan.code.path, plan.code.data)
    return list(manifests(plan, store="archive", stores=campaign.stores))


def claim(folder: Path, task: str, visit: int) -> tuple[Path, Receipt]:
    for path in folder.glob(f"_receipts/toy/{task}/*/*.json"):
        found = Receipt.from_json(path.read_text())
        if found.data_id["visit"] == visit:
            return path, found
    raise AssertionError(f"no claim of {task} {visit}")


def test_rounds_of_broken_landings_end_with_the_account_closed(
    tmp_path: Path, inside: Any, local: dict[str, bytes]
) -> None:
    campaign = Campaign(tmp_path / "c", **TOLERANT)
    plan = campaign.plan()
    jobs = jobs_of(campaign, plan)
    folders = [campaign.directory / "store" / landing_name(plan.id, n) for n in (1, 2)]
    before: dict[str, bytes] = {}

    def ingest(code: int = 0) -> dict[str, Any]:
        """Take in; what was committed before stays as it was."""
        done = inside("ingest", "--json", cwd=campaign.directory, ok=False)
        assert done.code == code, done.err
        now = archive(campaign)
        assert before.items() <= now.items()
        before.update(now)
        answer: dict[str, Any] = json.loads(done.out)
        assert not answer["unexpected"]
        return answer

    # The first submission: visit 2 is killed on its last try, so its gather never ran; half of visit 1 landed, and
    # visit 3 with a file of another execution. Visit 4 is lost, as its task tolerates.
    first = Carrier(jobs, tmp_path / "first", words=["--final"], kill=lambda job: "2" in job)
    assert not first.run(2)
    half = claim_paths(jobs, 1)
    first.land(folders[0], without=lambda name: name in half)
    mixed = folders[0] / plan.path_of("doubled", instrument="toy", visit=3)
    mixed.write_bytes(mixed.read_bytes().replace(b"6", b"7"))
    told = ingest(8)["landed"][0]
    assert told["committed"] == {"lost": 1, "blocked": 1}
    assert {p["code"] for p in told["findings"]} == {"PST-I040", "PST-I041", "PST-I043"}
    assert inside("account", cwd=campaign.directory, ok=False).code == 9

    # The second submission is made over it, of all that is not settled; the rest of the first lands at the same time,
    # and a tombstone for what the first has made.
    second = Carrier(jobs, tmp_path / "second", words=["--final"], settled=campaign.stores["archive"])
    second.ran += [m.job for m in jobs if "4" in m.job]
    assert second.run(), second.logs
    first.land(folders[0], without=lambda name: name not in half)
    assert ingest(8)["landed"][0]["committed"] == {"made": 2}
    second.land(folders[1], without=lambda name: "total" in name or "gather" in name)
    path, there = claim(folders[1], "double", 1)
    lost = Receipt(
        there.quantum, there.task, there.run, there.data_id, there.job, "lost", there.planned_recipe, None,
        attempt=there.attempt, code="failed",
    )  # fmt: skip
    path.write_text(lost.to_json())
    stone = tombstone_of(lost, there.outputs[0].id, "doubled", there.data_id).to_json()
    (folders[1] / there.outputs[0].path).write_text(stone)
    answer = ingest(8)
    assert answer["landed"][1]["committed"] == {"made": 4}
    assert answer["landed"][1]["elsewhere"] == 2

    # At last the gather lands, too.
    second.land(folders[1], without=lambda name: "total" not in name and "gather" not in name)
    assert ingest()["landed"][1]["committed"] == {"made": 1}
    assert {n: d for n, d in campaign.products().items() if n.startswith("toy/")} == {
        n: d for n, d in local.items() if n.startswith("toy/")
    }
    assert not any(read_tombstone(data) for data in before.values())
    account = json.loads(inside("account", "--json", cwd=campaign.directory, ok=False).out)
    assert (account["closes"], account["states"]["made"], account["states"]["lost"]) == (True, 7, 1)


def claim_paths(jobs: list[Manifest], visit: int) -> set[str]:
    """Give the planned paths of what is made of a visit."""
    return {o.path for m in jobs for o in m.outputs if o.data_id.get("visit") == visit}


def test_a_whole_landing_is_what_the_engine_local_makes_and_leaves_nothing(
    tmp_path: Path, inside: Any, local: dict[str, bytes]
) -> None:
    campaign = Campaign(tmp_path / "c", **TOLERANT)
    plan = campaign.plan()
    carrier = Carrier(jobs_of(campaign, plan), tmp_path / "carried", words=["--final"])
    assert carrier.run(), carrier.logs
    carrier.land(campaign.directory / "store" / landing_name(plan.id, 1))
    before = inside("status", cwd=campaign.directory, ok=False).out
    assert list((campaign.directory / "store/_landing").rglob("*.json"))  # to ask writes nothing
    assert "landing" not in before
    account = json.loads(inside("account", "--json", cwd=campaign.directory, ok=False).out)
    assert (account["states"]["pending"], account["classes"]["unexpected"]) == (9, 0)
    assert "_landing" not in inside("fsck", cwd=campaign.directory, ok=False).out
    done = inside("ingest", cwd=campaign.directory)
    assert "landed of submission 1: 9 quanta committed" in done.out
    assert {n: d for n, d in campaign.products().items() if n.startswith("toy/")} == {
        n: d for n, d in local.items() if n.startswith("toy/")
    }
    assert not list((campaign.directory / "store/_landing").rglob("*.json"))
    assert json.loads(inside("account", "--json", cwd=campaign.directory, ok=False).out)["closes"]
