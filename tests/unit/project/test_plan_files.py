"""Which plan a person means."""

from pathlib import Path

import pytest

from prestow.errors import ProjectError
from prestow.project.plans import find_plan_directory, matching, plan_directories, point_to

A, B = "aaaa1" + "0" * 27, "aaaa2" + "0" * 27


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    for name in (A, B):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.yaml").touch()
    (tmp_path / "leftovers").mkdir()
    (tmp_path / ("c" * 32)).mkdir()  # half-written: no plan.yaml
    return tmp_path


def test_only_whole_plans_are_plans(plans: Path) -> None:
    assert [p.name for p in plan_directories(plans)] == [A, B]
    assert plan_directories(plans / "nowhere") == ()


def test_a_beginning_is_enough_when_it_is_unique(plans: Path) -> None:
    assert find_plan_directory(plans, "aaaa1").name == A
    with pytest.raises(ProjectError, match="2 plans begin with 'aaaa'"):
        find_plan_directory(plans, "aaaa")
    with pytest.raises(ProjectError, match="no plan 'ffff'"):
        find_plan_directory(plans, "ffff")


def test_a_path_is_a_plan_too(plans: Path) -> None:
    assert find_plan_directory(plans, str(plans / B)) == plans / B


def test_the_newest_is_what_was_pointed_to(plans: Path) -> None:
    with pytest.raises(ProjectError, match="which plan"):
        find_plan_directory(plans, "latest")
    point_to(plans, B)
    assert find_plan_directory(plans, "latest").name == B
    point_to(plans, A)
    assert find_plan_directory(plans, "latest").name == A
    assert not list(plans.glob(".latest*"))


def test_words_that_are_no_ids_match_nothing(plans: Path) -> None:
    assert matching(plans, "coadd") == ()
    assert matching(plans, "aa") == ()


def test_no_plan_yet_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        find_plan_directory(tmp_path / "plans", "latest")
    assert caught.value.problems[0].fix == "make one: prestow plan"
