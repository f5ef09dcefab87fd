"""Why something is as it is: the state in words, the first cause, the next command; also without the plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prestow.engines import open_engine
from prestow.errors import ProjectError
from prestow.ingest import ingest_outputs
from prestow.naming.universe import load_universe
from prestow.results.causes import Reason, why
from prestow.results.recorded import Recorded
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign

FAIL = {"what": "fail"}
Ask = Callable[..., Reason]


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Ask]]:
    """Run a campaign, and give what answers questions about it; without the plan or the registry if asked.

    Equal campaigns are run once, unless a place of their own is given.
    """
    known: dict[str, Ask] = {}
    with ExitStack() as stack:

        def run(do: Mapping[int, Mapping[str, Any]], *, at: Path | None = None, **options: Any) -> Ask:
            key = json.dumps([do, options], sort_keys=True)
            if key in known and at is None:
                return known[key]
            campaign = Campaign(at or tmp_path_factory.mktemp("campaign"), **{"visits": 3, **options}, do=do)
            plan = campaign.plan()
            campaign.run(open_engine("local"), plan)
            store = open_store(campaign.stores["archive"])
            registry = stack.enter_context(campaign.registry())
            ingest_outputs(registry, store)

            def question(*words: str, planned: bool = True, taken_in: bool = True) -> Reason:
                recorded = Recorded(
                    load_universe(), registry if taken_in else None, plan if planned else None, store
                )
                reason = why(recorded, words)
                json.dumps(reason.as_dict())
                return reason

            return known.setdefault(key, question) if at is None else question

        yield run


@pytest.fixture
def ask(campaigns: Callable[..., Ask]) -> Callable[..., Ask]:
    return campaigns


@pytest.fixture
def own(campaigns: Callable[..., Ask], tmp_path: Path) -> Callable[..., Ask]:
    """The same, in a place that the test may change."""
    return lambda do, **options: campaigns(do, at=tmp_path, **options)


def text(reason: Reason) -> str:
    return "\n".join(reason.lines)


def test_a_failure_tells_error_log_tries_and_what_it_holds_up(ask: Callable[..., Ask]) -> None:
    reason = ask({2: {"shift": FAIL}}, tries=2)("shifted", "visit=2")
    assert reason.state == "failed"
    assert "failed 2 times, last on host" in text(reason)
    assert "ValueError: no stars above 5 sigma" in text(reason)
    assert "looking for stars" in text(reason)
    assert "the same error in 1 of 3 shift quanta" in text(reason)
    assert "blocks gather (and nothing else)" in text(reason)
    job = reason.facts["point"]["job"]
    assert (
        reason.following
        == f"prestow retry {job} && prestow run          or look into it: prestow debug {job}"
    )
    assert (reason.facts["tries"], reason.facts["same_error"]) == (2, {"count": 1, "of": 3})


def test_the_same_error_is_counted_with_its_numbers_aside(ask: Callable[..., Ask]) -> None:
    question = ask({1: {"shift": FAIL}, 3: {"shift": FAIL}}, visits=4)
    reason = question("shifted", "visit=1")
    assert reason.facts["same_error"] == {"count": 2, "of": 4}
    assert reason.facts["group"]["cause"] == "ValueError: no stars above <n> sigma"
    (other,) = reason.facts["group"]["others"]
    assert other == question("shifted", "visit=3").facts["point"]["job"]
    assert f"also {other}; on " in text(reason)


@pytest.mark.parametrize("words", [["gather"], ["total", "instrument=toy"], ["toy/total/total-toy.json"]])
def test_what_waits_is_led_to_the_first_cause(ask: Callable[..., Ask], words: list[str]) -> None:
    question = ask({2: {"double": FAIL}})
    if "/" in words[0]:
        words = [question("total", "instrument=toy").facts["point"]["path"]]
    reason = question(*words)
    assert reason.state == "pending"
    assert reason.facts["first_cause"]["type"] == "doubled"
    assert [p["type"] for p in reason.facts["chain"]] == ["total", "shifted", "doubled"]
    assert reason.following == "prestow why doubled instrument=toy visit=2"
    assert "no stars above 5 sigma" in text(reason)
    assert [(p["type"], p["data_id"]["visit"]) for p in reason.facts["waits_for"]] == [("shifted", 2)]


def test_what_was_not_tried_says_so(ask: Callable[..., Ask], tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "fresh", visits=2)
    with campaign.registry() as registry:
        recorded = Recorded(
            load_universe(), registry, campaign.plan(), open_store(campaign.stores["archive"])
        )
        reason = why(recorded, ["doubled", "visit=1"])
        assert "it was not tried yet" in text(reason)
        assert reason.following == "prestow run"
        assert why(recorded, ["total", "instrument=toy"]).following == "prestow run"


@pytest.mark.parametrize(
    "left", [{}, {"planned": False}, {"taken_in": False}], ids=["all", "no plan", "no registry"]
)
def test_a_loss_is_told_with_its_reason_whatever_is_left(
    ask: Callable[..., Ask], left: dict[str, bool]
) -> None:
    question = ask({2: {"double": FAIL}}, double="tolerate", shift="tolerate", minimum=1)
    lost = question("doubled", "visit=2") if left.get("planned", True) else question("double-2", **left)
    assert lost.state == "lost"
    assert "PST-N007: ValueError: no stars above 5 sigma" in text(lost)
    if not left:
        blocked = question("shifted", "visit=2")
        assert blocked.state == "blocked"
        assert blocked.facts["first_cause"]["state"] == "lost"
        assert "prestow repair" in text(blocked)
    total = question("total", "instrument=toy", **left)
    assert total.state == "made"
    assert "2 of 3 planned inputs (blocked)" in text(total)


@pytest.mark.parametrize(
    "left", [{}, {"planned": False}, {"taken_in": False}], ids=["all", "no plan", "no registry"]
)
def test_a_decline_is_followed_to_who_declined(ask: Callable[..., Ask], left: dict[str, bool]) -> None:
    question = ask({2: {"double": {"decline": "cloudy"}}}, minimum=1)
    words = (
        ["shifted", "visit=2"]
        if left.get("planned", True)
        else [question("shifted", "visit=2").facts["point"]["job"]]
    )
    reason = question(*words, **left)
    assert (reason.state, reason.facts["code"]) == ("declined", "cloudy")
    assert reason.facts["first_cause"]["task"] == "double"
    cause = question(reason.facts["first_cause"]["job"], **left)
    assert "declined by attempt" in text(cause)
    assert "rightfully nothing to make" in text(cause)


def test_a_failure_without_plan_and_registry_is_told_by_its_report(ask: Callable[..., Ask]) -> None:
    question = ask({2: {"shift": FAIL}})
    job = question("shifted", "visit=2").facts["point"]["job"]
    reason = question(job, planned=False, taken_in=False)
    assert reason.state == "failed"
    assert "no stars above 5 sigma" in text(reason)
    assert any("no plan" in note for note in reason.facts["notes"])


def test_a_job_of_several_quanta_tells_each(ask: Callable[..., Ask]) -> None:
    question = ask({2: {"shift": FAIL}}, clustered=True)
    job = question("shifted", "visit=2").facts["point"]["job"]
    reason = question(job)
    assert reason.state == "made,failed"
    assert [q["state"] for q in reason.facts["quanta"]] == ["made", "failed"]
    assert reason.following.startswith(f"prestow retry {job} && prestow run ")


def test_what_is_made_tells_how_it_stands(ask: Callable[..., Ask]) -> None:
    reason = ask({})("shifted", "visit=1")
    assert reason.state == "made"
    assert "made by attempt" in text(reason)
    assert "used by total{instrument=toy} (made)" in text(reason)
    assert reason.facts["bytes"] == "as committed"


def test_changed_and_gone_files_are_told(own: Callable[..., Ask], tmp_path: Path) -> None:
    question = own({})
    file = tmp_path / "store" / question("shifted", "visit=1").facts["point"]["path"]
    file.chmod(0o644)
    file.write_text(file.read_text().replace("flux", "flax"))
    for words in (["shifted", "visit=1"], [str(file)]):
        reason = question(*words)
        assert reason.state == "changed"
        assert "CHANGED" in text(reason)
    file.unlink()
    assert question("shifted", "visit=1").state == "gone"


def test_swapped_files_are_told_whose_they_are(own: Callable[..., Ask], tmp_path: Path) -> None:
    question = own({})
    files = [tmp_path / "store" / question("shifted", f"visit={n}").facts["point"]["path"] for n in (1, 2)]
    first, second = (path.read_bytes() for path in files)
    for path in files:
        path.chmod(0o644)
    files[0].write_bytes(second)
    for words in (["shifted", "visit=1"], [str(files[0])]):
        reason = question(*words)
        assert reason.state == "changed"
        assert "WRONG NAME: its story says that it is shifted{instrument=toy,visit=2} of run" in text(reason)
        assert "to the byte as that was committed at" in text(reason)
        assert "if the file there is not good" in text(reason)
        assert reason.facts["file"]["story"]["data_id"]["visit"] == 2
    files[1].write_bytes(first)
    for words in (["shifted", "visit=1"], [str(files[1])]):
        assert "exchange them" in text(question(*words))
        assert "equal bytes" not in text(question(*words))


def test_a_file_that_no_receipt_commits_is_debris(own: Callable[..., Ask], tmp_path: Path) -> None:
    question = own({2: {"shift": FAIL}})
    good = tmp_path / "store" / question("shifted", "visit=1").facts["point"]["path"]
    there = tmp_path / "store" / question("shifted", "visit=2").facts["point"]["path"]
    there.write_text('{"flux": 1}')
    reason = question(str(there))
    assert reason.state == "debris"
    assert "shifted{instrument=toy,visit=2} belongs there; it is failed" in text(reason)
    assert "no stars above 5 sigma" in text(reason)
    stray = there.with_name("mine.json")
    shutil.copy(good, stray)
    reason = question(str(stray))
    assert reason.state == "debris"
    assert "the same dataset, shifted{instrument=toy,visit=1}, was committed at" in text(reason)
    stray.write_text("{}")
    assert "carries no story" in text(question(str(stray)))


def test_a_copy_and_a_changed_copy_elsewhere_are_known_by_their_story(
    own: Callable[..., Ask], tmp_path: Path
) -> None:
    question = own({})
    copy = tmp_path / "copy.json"
    shutil.copy(tmp_path / "store" / question("shifted", "visit=1").facts["point"]["path"], copy)
    assert "is a copy of it" in text(question(str(copy)))
    copy.write_text(copy.read_text().replace("flux", "flax"))
    assert question(str(copy)).state == "changed"


def test_what_nothing_knows_is_refused_with_the_nearest_names(
    ask: Callable[..., Ask], tmp_path: Path
) -> None:
    question = ask({})
    (tmp_path / "notes.txt").write_text("mine")
    for words in (
        ["gathe-r"],
        ["shifted", "visit=99"],
        ["no/such/file.json"],
        [str(tmp_path / "notes.txt")],
    ):
        with pytest.raises(ProjectError) as error:
            question(*words)
        assert error.value.problems[0].code == "PST-G012"
    with pytest.raises(ProjectError, match="did you mean 'gather'"):
        question("gathe-r")
