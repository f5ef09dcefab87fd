"""The least that has to run, held to a search through all that could; and what is told of what cannot."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.results.ancestry import Ancestry, KnownDataset, KnownQuantum
from prestow.results.regenerating import needed

MOST = 6  # quanta of a graph: the search goes through all sets of them


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Ancestry, set[str], list[str]]:
    """Give a small history: quanta with one or two outputs, what is present, and what is wanted."""
    known = Ancestry()
    for number in range(draw(st.integers(1, 2))):
        known.datasets[f"raw{number}"] = KnownDataset(
            f"raw{number}", "raw", {"n": number}, "raws", state="root"
        )
    for number in range(draw(st.integers(1, MOST))):
        inputs = draw(st.lists(st.sampled_from(sorted(known.datasets)), min_size=1, max_size=3, unique=True))
        state = draw(st.sampled_from(["made", "made", "made", "made", "lost", ""]))
        outputs = tuple(f"d{number}.{k}" for k in range(draw(st.integers(1, 2))))
        key = f"q{number}"
        known.quanta[key] = KnownQuantum(
            key, "t", "demo", {"n": number}, state, inputs=tuple(("c", i) for i in inputs), outputs=outputs
        )
        for output in outputs:
            told = {"made": draw(st.sampled_from(["made", "deleted"])), "lost": "lost", "": "pending"}[state]
            known.datasets[output] = KnownDataset(output, "x", {"n": number, "o": output}, "demo", key, told)
    can_be = [k for k, d in known.datasets.items() if d.state in ("root", "made")]
    present = set(draw(st.lists(st.sampled_from(sorted(can_be) or ["none"]), unique=True)))
    made = [k for k, d in known.datasets.items() if d.quantum]
    return known, present, draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))


def comes_to(known: Ancestry, present: set[str], chosen: tuple[str, ...]) -> set[str]:
    """Run some quanta, each as soon as all that it read then is there, and give what there is."""
    there = set(present)
    waiting = list(chosen)
    while True:
        ready = [
            q for q in waiting
            if all(i in there or known.datasets[i].state in ("lost", "declined") for _, i in known.quanta[q].inputs)
        ]  # fmt: skip
        if not ready:
            return there
        for key in ready:
            waiting.remove(key)
            there.update(known.quanta[key].outputs)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_what_has_to_run_is_the_least_that_makes_it(case: tuple[Ancestry, set[str], list[str]]) -> None:
    known, present, wanted = case
    found = needed(known, present, wanted)
    may_run = [q for q, one in known.quanta.items() if one.state != "lost"]
    reachable = comes_to(known, present, tuple(may_run))
    assert set(found.hindered) == {w for w in wanted if w not in reachable}
    goal = {w for w in wanted if w in reachable}
    least = next(
        set(chosen)
        for size in range(len(may_run) + 1)
        for chosen in combinations(may_run, size)
        if goal <= comes_to(known, present, chosen)
    )
    assert set(found.quanta) == least
    done: set[str] = set()
    for key in found.quanta:  # each after those that it reads from
        makers = {known.datasets[i].quantum for _, i in known.quanta[key].inputs if i not in present}
        assert makers & set(found.quanta) <= done
        done.add(key)


def line(length: int) -> Ancestry:
    known = Ancestry([], {"d0": KnownDataset("d0", "raw", {}, "raws", state="root")})
    for n in range(1, length):
        known.datasets[f"d{n}"] = KnownDataset(f"d{n}", "x", {"n": n}, "demo", f"q{n}", "deleted")
        known.quanta[f"q{n}"] = KnownQuantum(
            f"q{n}", "t", "demo", {"n": n}, "made", inputs=(("c", f"d{n - 1}"),), outputs=(f"d{n}",)
        )
    return known


def test_a_long_line_is_no_matter() -> None:
    known = line(3000)
    assert len(needed(known, {"d0"}, ["d2999"]).quanta) == 2999
    assert needed(known, set(), ["d2999"]).hindered == {"d2999": "raw{} is gone"}


@pytest.mark.parametrize(
    ("stopped", "lacking", "why"),
    [
        ({"demo": "its code is gone"}, {}, "its code is gone"),
        ({}, {"d0": "raw{} was not brought"}, "raw{} was not brought"),
    ],
)
def test_why_it_cannot_be_made_is_told(stopped: dict[str, str], lacking: dict[str, str], why: str) -> None:
    found = needed(line(3), set(), ["d2"], stopped=stopped, lacking=lacking)
    assert (found.quanta, found.hindered) == ((), {"d2": why})


def test_an_ancestry_is_read_back() -> None:
    known = line(4)
    again = Ancestry.from_plain(known.to_plain())
    assert (again.datasets, again.quanta, again.asked) == (known.datasets, known.quanta, known.asked)


def test_runs_stand_after_those_that_they_read_from() -> None:
    known = line(3)
    known.datasets["z"] = KnownDataset("z", "y", {}, "a-child", "qz", "made")
    known.quanta["qz"] = KnownQuantum("qz", "u", "a-child", {}, "made", inputs=(("c", "d2"),), outputs=("z",))
    assert known.runs() == ("demo", "a-child")
