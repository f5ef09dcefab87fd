"""Calibrations in two times: the planner and the registry agree with a brute force, for any intervals."""

import itertools
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.model.instants import ALWAYS, FOREVER
from prestow.plan.calibrations import choose
from prestow.plan.passes.expand import expand
from prestow.plan.passes.select import select
from prestow.plan.state import State
from prestow.registry import Registry
from prestow.registry.certifying import Certification, put_certification, replay
from prestow.results.calibration_lists import check
from prestow.stores import open_store
from prestow.testing.surveys import UNIVERSE, Request, Survey, exist, fill, reduction

FEW = settings(max_examples=40, deadline=None)
TIMES = st.integers(0, 12)


def _interval(pair):
    begin, end = sorted(pair)
    return begin, end + 1


INTERVALS = st.one_of(
    st.tuples(TIMES, TIMES).map(_interval),
    TIMES.map(lambda t: (t, FOREVER)),
    TIMES.map(lambda t: (ALWAYS, t)),
    st.just((ALWAYS, FOREVER)),
)
ACTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 1), INTERVALS, st.integers(0, 6), st.booleans()), max_size=10
)


def _act(dataset, key, interval, known, ends):
    # a dataset has one data ID
    return Certification(
        "calib", "flat", (f"{dataset:02d}{key}" + "0" * 29,), {"detector": [key]}, known, *interval, ends
    )


def _known_by_hand(acts, key, instant, moment):
    """Give the datasets that are held valid, by going through all acts of before."""
    acts = [a for a in acts if a.known <= moment]
    held: dict[str, int] = {}
    for act in sorted(acts, key=lambda a: (a.known, a.ends)):
        if act.ends:
            held = {d: k for d, k in held.items() if d not in act.datasets}
        elif act.data_id["detector"] == [key] and act.begin <= instant < act.end:
            held = {d: k for d, k in held.items() if k == act.known} | {act.datasets[0]: act.known}
    return set(held)


@FEW
@given(ACTS, st.randoms())
def test_rows_say_what_going_through_all_acts_says(drawn, random):
    acts = [_act(*one) for one in drawn]
    shuffled = random.sample(acts, len(acts))
    rows = replay(acts)
    assert rows.equals(replay(shuffled))
    table = rows.to_pylist()
    assert all(r["valid_begin"] < r["valid_end"] and r["known_begin"] < r["known_end"] for r in table)
    assert len({(r["dataset"], r["valid_begin"], r["known_begin"]) for r in table}) == len(table)
    for key in (0, 1):
        for instant in range(-1, 14):
            for moment in range(-1, 8):
                found = [
                    r["dataset"].hex()
                    for r in table
                    if r["valid_begin"] <= instant < r["valid_end"]
                    and r["known_begin"] <= moment < r["known_end"]
                    and r["dataset"].hex()[2] == str(key)
                ]
                assert sorted(found) == sorted(_known_by_hand(acts, key, instant, moment))


VALIDITIES = st.lists(
    st.tuples(st.integers(0, 7), INTERVALS, st.tuples(TIMES, TIMES).map(_interval), st.sampled_from("ab")),
    max_size=12,
)


def _survey(rows, detectors=2):
    """Make a survey whose exposures begin at 0, 1, 2 …, with flats of four nights for each detector."""
    survey = Survey.make(12, detectors)
    records = {
        name: frame.with_columns(pl.col(name).cast(pl.Int64).alias("begin"))
        for name, frame in survey.records.items()
        if name in ("exposure", "visit")
    }
    nights = pl.DataFrame({"day_obs": range(4)}).join(survey.records["detector"], how="cross")
    flat = exist("flat", nights.select("instrument", "day_obs", "detector"))
    ids = flat["id"]
    certified = pl.DataFrame(
        [
            {"id": ids[n % len(ids)], "collection": c, "valid_begin": v[0], "valid_end": v[1], "known_begin": k[0],
             "known_end": k[1] if k[1] < 12 else FOREVER}
            for n, v, k, c in rows
        ],
        schema={"id": ids.dtype, "collection": pl.String, **dict.fromkeys(("valid_begin", "valid_end", "known_begin", "known_end"), pl.Int64)},
    )  # fmt: skip
    survey = replace(
        survey,
        existing={**survey.existing, "flat": flat},
        records={**survey.records, **records},
        certified={"flat": certified},
    )
    return survey, flat, certified


def _pipeline():
    pipeline = reduction()
    kinds = dict(pipeline.dataset_types)
    kinds["flat"] = replace(
        kinds["flat"], calibration=True, dimensions=UNIVERSE.close(["detector", "day_obs"])
    )
    return replace(pipeline, dataset_types=kinds)


@FEW
@given(VALIDITIES, st.one_of(st.none(), TIMES), st.sampled_from([(), ("b", "a"), ("a",)]))
def test_the_choice_is_that_of_a_brute_force(rows, as_of, collections):
    survey, flat, certified = _survey(rows)
    request = Request("demo", _pipeline(), UNIVERSE, ("raw",), calibrations=collections, as_of=as_of)
    state = expand(select(State(request, survey)))
    task = request.pipeline.task("isr")
    connection = next(c for c in task.inputs if c.name == "flat")
    quanta = pl.DataFrame({"visit": range(12)}).join(pl.DataFrame({"detector": [0, 1]}), how="cross")
    quanta = quanta.with_columns(instrument=pl.lit("sim"))
    kinds = {d: state.records["detector"].schema.get(d, pl.Int64) for d in ("instrument", "detector")}
    quanta = quanta.with_columns(pl.col(d).cast(kind) for d, kind in kinds.items())
    chosen = choose(state, task, connection, quanta)

    detector = dict(zip(flat["id"], flat["detector"], strict=True))
    named = state.existing["flat"]["_id"].to_list()
    got = {(q, named[d]) for q, d in chosen.pairs.iter_rows()}
    expected, gaps, overlaps = set(), set(), set()
    visits = set(survey.records["visit"]["visit"])
    for q, (visit, ccd) in enumerate(quanta.select("visit", "detector").iter_rows()):
        valid: dict[str, set[bytes]] = {}
        for r in certified.iter_rows(named=True):
            known = r["known_end"] == FOREVER if as_of is None else r["known_begin"] <= as_of < r["known_end"]
            if (
                known
                and detector[r["id"]] == ccd
                and r["valid_begin"] <= visit < r["valid_end"]
                and visit in visits
            ):
                valid.setdefault(r["collection"], set()).add(r["id"])
        several = (
            [valid.get(c, set()) for c in collections] if collections else [set().union(*valid.values())]
        )
        best = next((v for v in several if v), set())
        if len(best) == 1:
            expected.update((q, one) for one in best)
        else:
            (overlaps if best else gaps).add(q)
    assert got == expected
    assert set(chosen.gaps["quantum"]) == gaps
    assert set(chosen.overlaps["quantum"]) == overlaps
    assert chosen.pairs.equals(chosen.pairs.sort("quantum", "dataset"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    survey, flat, _ = _survey([])
    root = tmp_path_factory.mktemp("laws")
    with Registry.open(f"sqlite:///{root}/registry.db", UNIVERSE, create=True) as registry:
        fill(registry, survey)
        yield registry, flat, open_store(f"file://{root}/store")


COUNT = itertools.count()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), INTERVALS, st.integers(0, 3)), max_size=8),
    st.one_of(st.none(), st.integers(0, 3)),
)
def test_check_finds_what_going_through_every_instant_finds(registry, acts, as_of):
    registry, flat, store = registry
    name = f"c{next(COUNT)}"
    registry.certified.create(name)
    ids = [(i.hex(), ccd) for i, ccd in flat.select("id", "detector").iter_rows()]
    for n, interval, known in acts:
        digits, ccd = ids[n % len(ids)]
        values = {"detector": [ccd], "instrument": ["sim"]}
        put_certification(store, Certification(name, "flat", (digits,), values, known, *interval))
    rows = registry.certified.apply(store, name, "flat")
    assert rows == registry.certified.apply(store, name, "flat")
    found = check(registry, [name], as_of)
    told = registry.certified.rows("flat", [name], as_of).to_pylist()
    owner = dict(ids)
    ccds = {owner[r["dataset"].hex()] for r in told}
    gaps, overlaps = set(), set()
    for ccd, instant in itertools.product(ccds, range(-3, 20)):
        valid = {
            r["dataset"]
            for r in told
            if owner[r["dataset"].hex()] == ccd and r["valid_begin"] <= instant < r["valid_end"]
        }
        if not valid and 1 <= instant <= 12:  # visits 1 to 12 begin then
            gaps.add((ccd, instant))
        if len(valid) > 1:
            overlaps.add((ccd, instant))

    def inside(frame):
        return [
            (int(row["data_id"].partition(",")[0].removeprefix("detector=")), instant)
            for row in frame.iter_rows(named=True)
            for instant in range(max(row["begin"], -3), min(row["end"], 20))
        ]

    assert sorted(inside(found.gaps)) == sorted(gaps)
    assert sorted(inside(found.overlaps)) == sorted(overlaps)
    assert sum(found.gaps["observations"]) == len(gaps)
    assert sum(found.overlaps["observations"]) == sum(1 <= t <= 12 for _, t in overlaps)
