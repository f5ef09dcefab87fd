"""Laws of grouping failures: names and numbers do not matter, nor the order, and every failure counts once."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.results.failures import FailureGroup, grouped

NUMBERS = st.one_of(st.integers(-(10**12), 10**12), st.floats(allow_nan=True)).map(str)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
QUOTED = NAMES.map(repr)
BANDS = st.sampled_from(["g", "r", "u-band", "N708"])
LAWS = settings(max_examples=25, deadline=None)
KINDS = (
    ("ValueError: fit of {n} rows failed, rms {m} > {n}", "isr"),
    ("KeyError: {q}", "isr"),
    ("OSError: cannot read {p}: {n} bytes short", "coadd"),
    ("LookupError: no flat {q} for {b} in {p}:{m}", "coadd"),
    ("no space left: {p}", "isr"),
)


@st.composite
def failures(draw: st.DrawFn) -> tuple[list[int], list[dict[str, Any]], list[dict[str, Any]]]:
    """Give kinds of failures, and twice rows of these kinds, with other numbers and names in their messages."""
    chosen = draw(st.lists(st.integers(0, len(KINDS) - 1), max_size=12))
    sides: list[list[dict[str, Any]]] = [[], []]
    for i, kind in enumerate(chosen):
        host = draw(st.sampled_from("abc"))
        for side in sides:
            text, task = KINDS[kind]
            band = draw(BANDS)
            message = text.format(n=draw(NUMBERS), m=draw(NUMBERS), p=draw(PATHS), q=draw(QUOTED), b=band)
            side.append({
                "quantum": str(i), "job": f"j{i}", "task": task, "host": host, "code": "PST-N007", "message": message,
                "data_id": f"band={band},visit={i}",
            })  # fmt: skip
    return chosen, sides[0], sides[1]


def shape(groups: tuple[FailureGroup, ...]) -> list[tuple[Any, ...]]:
    return [(g.kind, g.cause, g.count, dict(g.hosts), dict(g.tasks), set(g.quanta)) for g in groups]


@LAWS
@given(failures())
def test_other_numbers_and_names_give_the_same_groups(
    sides: tuple[list[int], list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    chosen, one, other = sides
    assert shape(grouped(one)) == shape(grouped(other))
    assert len(grouped(one)) == len(set(chosen))


@LAWS
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["isr", "coadd"]), st.integers(0, 9))),
    st.randoms(),
)
def test_every_failure_counts_once_whatever_the_order(
    tries: list[tuple[str, str, int]], chance: random.Random
) -> None:
    rows = [
        {"quantum": str(i), "job": f"j{i}", "task": task, "host": host, "data_id": f"visit={i}", "code": "PST-N007" if said < 8 else "",
         "message": f"Error{'abcdefgh'[said]}: {i}" if said < 8 else ""}
        for i, (host, task, said) in enumerate(tries * 5)
    ]  # fmt: skip
    groups = grouped(rows)
    failed = {row["quantum"] for row in rows if row["code"]}
    assert sum(group.count for group in groups) == len(failed)
    assert sorted(quantum for group in groups for quantum in group.quanta) == sorted(failed)
    for group in groups:
        assert sum(group.tasks.values()) == sum(group.hosts.values()) == group.count
        assert group.kind == "cause" or set(group.hosts) == {group.cause}
    chance.shuffle(rows)
    assert grouped(rows) == groups
