"""The states of outputs, what the registry and receipts disagree in, races, and runs without plan or registry."""

import json
import os
from pathlib import Path

import pytest

from prestow.commit import RECEIPTS, each_receipt, promote
from prestow.engines import open_engine
from prestow.errors import Exit, PrestowError
from prestow.ingest import ingest_outputs
from prestow.plan import Plan
from prestow.project import Project
from prestow.registry import put_record
from prestow.results.account import Account, account
from prestow.results.status import failed_among
from prestow.stores import open_store
from prestow.stores.file import FileStore
from prestow.testing.campaigns import Campaign


def run(campaign: Campaign, *, take_in: bool = True) -> Plan:
    plan = campaign.plan()
    campaign.run(open_engine("local"), plan)
    if take_in:
        with campaign.registry() as registry:
            ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=["toy"])
    return plan


def take(
    campaign: Campaign, plan: Plan | None, *, level: str = "receipt", with_registry: bool = True
) -> Account:
    store = open_store(campaign.stores["archive"])
    with campaign.registry() as registry:
        return account(
            "toy", store, registry if with_registry else None, plan=plan, level=level, failed=failed_among
        )


def some(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("taken_in", [True, False])
@pytest.mark.parametrize("with_registry", [True, False])
def test_each_output_has_one_state(tmp_path: Path, taken_in: bool, with_registry: bool) -> None:
    do = {1: {"double": {"decline": "cloudy"}}, 2: {"shift": {"what": "fail"}}}
    campaign = Campaign(tmp_path, visits=4, do=do, minimum=1)
    plan = run(campaign, take_in=taken_in)
    found = take(campaign, plan, with_registry=with_registry)
    assert some(found.states) == {"made": 5, "declined": 2, "failed": 1, "pending": 1}
    assert found.tasks["shift"]["failed"] == 1
    assert (found.planned, found.closes, found.exit) == (9, False, Exit.ACCOUNT)
    assert found.outputs.select("state", "task").rows() == [("failed", "shift"), ("pending", "gather")]
    assert some(found.classes) == {"expected": 5}


def test_losses_that_are_tolerated_close_it_with_their_own_exit(tmp_path: Path) -> None:
    campaign = Campaign(
        tmp_path, visits=3, do={2: {"double": {"what": "fail"}}}, double="tolerate", minimum=1
    )
    plan = run(campaign)
    for of in (plan, None):
        found = take(campaign, of)
        assert some(found.states) == {"made": 5, "lost": 1, "blocked": 1}
        assert (found.closes, found.exit) == (True, Exit.LOSSES)
        assert found.outputs["state"].to_list() == ["blocked", "lost"]


def test_without_a_plan_it_is_what_receipts_say(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    run(campaign)
    for with_registry in (True, False):
        found = take(campaign, None, with_registry=with_registry)
        assert (found.states["made"], found.plan, found.classes["expected"]) == (5, "", 5)
        assert "there is no plan" in found.remarks[0]
    assert "registry cannot be asked" in found.remarks[1]
    with pytest.raises(PrestowError, match="PST-A001"), campaign.registry() as registry:
        account("nothing", open_store(campaign.stores["archive"]), registry)


def test_registry_and_receipt_that_disagree_are_contradictory(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    store = open_store(campaign.stores["archive"])
    name, receipt = next((n, r) for n, r in each_receipt(store, "toy") if r.task == "gather")
    path = Path(str(store.local_path(name)))
    document = json.loads(path.read_text())
    document["outputs"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    assert take(campaign, plan).closes
    found = take(campaign, plan, level="full")
    assert some(found.states) == {"made": 4, "contradictory": 1}
    assert (found.closes, found.contradictions[0].where) == (False, receipt.outputs[0].path)


def test_a_contradiction_that_nobody_has_settled_keeps_it_open(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    facts = {
        "kind": "contradictory",
        "run": "toy",
        "what": "two of one name",
        "where": "task gather, run toy",
    }
    store = open_store(campaign.stores["archive"])
    with campaign.registry() as registry:
        registry.findings.add(store, [facts, {**facts, "run": "other"}, {**facts, "kind": "irreproducible"}])
        found = account("toy", store, registry, plan=plan)
        assert (found.closes, len(found.contradictions)) == (False, 1)
        assert "made other content than what is committed: 1" in found.remarks[0]
        registry.findings.settle(
            store, next(f.key for f in registry.findings.open("toy") if f.kind == "contradictory"), "seen"
        )
        assert account("toy", store, registry, plan=plan).closes


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "prestow.receipt/1"}', "not JSON"])
def test_what_is_no_receipt_is_contradictory_and_the_rest_is_told(tmp_path: Path, text: str) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign, take_in=False)
    store = open_store(campaign.stores["archive"])
    name = next(n for n, r in each_receipt(store, "toy") if r.task == "gather")
    Path(str(store.local_path(name))).write_text(text)
    found = take(campaign, plan)
    assert some(found.states) == {"made": 4, "contradictory": 1}
    assert found.contradictions[0].where == name
    assert some(found.classes) == {"expected": 4, "unexpected": 1}  # nothing commits the file of the fifth
    assert found.of("unexpected")[0].planned


def test_a_receipt_under_another_recipe_is_contradictory(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    run(campaign, take_in=False)
    (tmp_path / "toytasks.py").write_text((tmp_path / "toytasks.py").read_text() + "\n# other code\n")
    found = take(campaign, campaign.plan())
    assert some(found.states) == {"contradictory": 5}


class LatePromotion(FileStore):
    """A store in which somebody promotes between the listing of files and the first look at receipts."""

    def walk_names(self, prefix: str = ""):  # noqa: ANN201 - as the store's
        if prefix.startswith(RECEIPTS):
            for _, receipt in each_receipt(FileStore(self.uri), "toy"):
                promote(FileStore(self.uri), receipt)
        yield from super().walk_names(prefix)


def test_what_is_promoted_between_listing_and_receipts_is_neither_missing_nor_unexpected(
    tmp_path: Path,
) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign, take_in=False)
    store = FileStore(campaign.stores["archive"])
    for _, receipt in each_receipt(store, "toy"):
        for output in receipt.outputs:
            store.move(output.path, str(output.aside))
    assert (found := account("toy", store, plan=plan)).to_promote == 5
    assert (found.closes, found.found, found.states["made"]) == (True, 0, 5)
    found = account("toy", LatePromotion(campaign.stores["archive"]), plan=plan)
    assert (found.closes, found.to_promote, some(found.classes)) == (True, 0, {"expected": 5})


def test_debris_at_a_planned_name_is_told_and_a_promotion_mends_it(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign, take_in=False)
    store = open_store(campaign.stores["archive"])
    receipt = next(r for _, r in each_receipt(store, "toy") if r.task == "gather")
    output = receipt.outputs[0]
    store.move(output.path, str(output.aside))
    assert store.put_if_absent(output.path, b"debris") == "yes"
    found = take(campaign, plan)
    assert (found.to_promote, found.states["made"]) == (1, 5)
    assert [(n.path, n.why, n.planned) for n in found.of("unexpected")] == [(output.path, "debris", True)]
    promote(store, receipt)
    assert take(campaign, plan).closes


def test_a_directory_behind_a_link_is_told(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    root = tmp_path / "store"
    (root / "toy/doubled").rename(tmp_path / "moved")
    (root / "toy/doubled").symlink_to(tmp_path / "moved")
    found = take(campaign, plan)
    assert some(found.classes) == {"expected": 3, "unexpected": 1, "faulty": 2}
    assert {note.why for note in found.of("faulty")} == {"link"}
    assert "leads out of the store" in found.of("unexpected")[0].what


def test_a_run_whose_directory_is_a_link_is_at_home(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    (tmp_path / "store/toy").rename(tmp_path / "disk")
    (tmp_path / "store/toy").symlink_to(tmp_path / "disk")
    assert take(campaign, plan).closes


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_stops_it(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    (tmp_path / "store/toy/doubled").chmod(0)
    with pytest.raises(PrestowError, match="PST-A002"):
        take(campaign, plan)


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    Path(os.fsdecode(os.fsencode(tmp_path / "store/toy") + b"/\xff.json")).write_bytes(b"{}")
    found = take(campaign, plan)
    assert [(note.path, note.why) for note in found.of("unexpected")] == [("toy/\\xff.json", "other")]


def test_another_plan_of_the_run_is_no_stray(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=3)
    with Project.open(tmp_path) as project:
        another_plan(campaign, project)


def another_plan(campaign: Campaign, project: Project) -> None:
    first = project.plan("visit <= 2", run="toy", want=["shifted"])
    second = project.plan("visit = 3", run="toy", want=["shifted"])
    for plan in (first, second):
        campaign.run(open_engine("local"), plan)
    for plan in (first, second):
        done = project.account(plan)
        assert done.account.closes, done.account.notes
        assert done.account.found == 6
    assert (project.account(first).account.planned, project.account(second).account.planned) == (4, 2)


def test_a_deleted_one_is_not_missing_and_its_leftover_is_told(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=2)
    plan = run(campaign)
    store = open_store(campaign.stores["archive"])
    output = next(o for _, r in each_receipt(store, "toy") for o in r.outputs if o.type == "shifted")
    put_record(store, "deleted", output.id, {"dataset": output.id})
    for with_registry in (True, False):
        found = take(campaign, plan, with_registry=with_registry)
        assert (found.deleted, found.states["made"], found.closes) == (1, 5, False)
        assert [(n.path, n.why) for n in found.of("unexpected")] == [(output.path, "deleted")]
    store.delete(output.path)
    found = take(campaign, plan)
    assert (found.closes, found.deleted, some(found.classes)) == (True, 1, {"expected": 4})
