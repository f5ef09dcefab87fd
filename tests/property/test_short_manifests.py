"""What a pack says of its jobs is all that their manifests say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prestow.commit import receipt_name
from prestow.manifest import (
    CARRIED,
    LAYOUTS,
    Code,
    Connection,
    Location,
    Manifest,
    ManifestInput,
    ManifestOutput,
    ManifestQuantum,
)
from prestow.model.flat import flat_local
from prestow.node.packed import pack, packed_jobs
from prestow.node.short import expanded, shortened

PART = st.sampled_from(["a", "b.fits", "c d", "é", "_external", "nights", "raw", "~+", ".x"])
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)
TEXT = st.sampled_from(["0" * 64, "1" * 64, "0f" * 32])
DATA_ID = st.dictionaries(st.sampled_from(["visit", "band"]), st.integers(0, 2) | st.just("r"), max_size=2)
NAME = st.sampled_from(["raw", "isr", "b"])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@st.composite
def inputs(draw: st.DrawFn, layout: str, number: int) -> tuple[ManifestInput, Location | None]:
    kind, path = draw(NAME), draw(PATH)
    local = draw(st.sampled_from([f"inputs/{kind}/{path}", f"inputs/{path}"]))
    if layout == "flat" and draw(st.booleans()):
        local = flat_local(local)
    content = draw(maybe(TEXT))
    item = ManifestInput(
        id=f"{number:08d}", type=kind, data_id=draw(DATA_ID), run="r", format="fits",
        recipe=draw(st.sampled_from(["0" * 32, "2" * 32])), local=local, producer=draw(maybe(st.sampled_from(["p", "q"]))),
        receipt=draw(maybe(st.sampled_from(["_receipts/r/isr/p/p.json", "_receipts/r/isr/q/q.json"]))),
        size=draw(maybe(st.just(0))), sha256=draw(maybe(TEXT)), content=content, member=draw(maybe(st.just("SCI"))),
    )  # fmt: skip
    store = draw(st.sampled_from([CARRIED, "nights"]))
    name = draw(st.sampled_from([path, f"_external/nights/{path}", "tars/j.tar#a", f"x{path}"]))
    if layout == "flat" and draw(st.booleans()):
        name = flat_local(f"inputs/{name}").removeprefix("inputs/")
    return item, draw(st.sampled_from([None, Location(store, name)]))


@st.composite
def manifests(draw: st.DrawFn, name: str) -> Manifest:
    layout = draw(st.sampled_from(LAYOUTS))
    told = [draw(inputs(layout, draw(st.integers(0, 3)))) for _ in range(draw(st.integers(0, 3)))]
    told = list({item.id: (item, place) for item, place in told}.values())
    paths = draw(st.lists(PATH, max_size=3, unique=True))
    outputs = tuple(
        ManifestOutput(
            id=f"o{n}", type=draw(NAME), data_id=draw(DATA_ID), format="fits", path=path,
            local=draw(st.sampled_from([f"outputs/{path}", flat_local(f"outputs/{path}"), "outputs/x"])),
            columns=draw(st.sampled_from([(), (("flux", "float64"),)])),
        )
        for n, path in enumerate(paths)
    )  # fmt: skip
    places = (
        st.lists(st.integers(0, max(len(paths) - 1, 0)), max_size=2, unique=True) if paths else st.just([])
    )
    quanta = tuple(
        ManifestQuantum(
            id=f"q{n}", task=(task := draw(NAME)), data_id=draw(DATA_ID), recipe="3" * 32,
            receipt=draw(st.sampled_from([receipt_name("r", task, f"q{n}"), "_receipts/other"])),
            inputs={"x": Connection(tuple(range(len(told))), draw(st.sampled_from(["all", 1, 0.5])))},
            outputs={"y": Connection(tuple(draw(places)), optional=draw(st.booleans()))},
            entry=draw(maybe(st.just("m:f"))), command=draw(st.sampled_from([None, ("a", "{b}")])),
            config=draw(st.sampled_from([{}, {"é": [1, None]}])), tolerate=draw(st.booleans()),
        )
        for n in range(draw(st.integers(1, 3)))
    )  # fmt: skip
    return Manifest(
        job=name, plan="p", run="r", quanta=quanta, inputs=tuple(i for i, _ in told), outputs=outputs, store="s",
        stores=draw(st.sampled_from([{"s": "file:///s"}, {"s": "file:///t"}])),
        locations={i.id: place for i, place in told if place is not None},
        code=draw(st.sampled_from([None, Code("0", "s", "c.zip", 1)])),
        resources=draw(st.sampled_from([{}, {"memory": 1}])), layout=layout,
    )  # fmt: skip


SOME = st.integers(0, 4).flatmap(lambda count: st.tuples(*(manifests(f"job-{n}") for n in range(count))))


@given(SOME)
def test_a_pack_gives_back_each_of_its_manifests(tmp_path_factory, told: tuple[Manifest, ...]) -> None:
    shared, own = shortened(told)
    shared, own = json.loads(json.dumps(shared)), json.loads(json.dumps(own))
    assert [expanded(shared, one) for one in own] == list(told)
    path: Path = tmp_path_factory.mktemp("packs") / "some.pack"
    path.write_bytes(pack(told))
    assert list(packed_jobs(path)) == list(told)


@given(SOME)
def test_it_says_nothing_twice(told: tuple[Manifest, ...]) -> None:
    shared, own = shortened(told)
    said = [json.dumps(i, sort_keys=True) for one in own for i in one["inputs"] if isinstance(i, dict)]
    known = [json.dumps(i, sort_keys=True) for i in shared["inputs"]]
    assert len({*said, *known}) == len(said) + len(known)
