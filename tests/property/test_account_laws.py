"""Whatever happens to the files of a run, the account says what it was, and it sums."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.commit import each_receipt
from prestow.engines import open_engine
from prestow.ingest import ingest_outputs
from prestow.plan import Plan
from prestow.registry import Registry
from prestow.results.account import account
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign

VISITS = 8


@dataclass(frozen=True)
class Made:
    store: Path
    plan: Plan
    registry: Registry
    products: tuple[str, ...]
    asides: dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    campaign = Campaign(tmp_path_factory.mktemp("account") / "c", visits=VISITS)
    campaign.run(open_engine("local"))
    store = open_store(campaign.stores["archive"])
    asides = {o.path: str(o.aside) for _, r in each_receipt(store, "toy") for o in r.outputs}
    with campaign.registry() as registry:
        ingest_outputs(registry, store, runs=["toy"])
        yield Made(campaign.directory / "store", campaign.plan(), registry, tuple(sorted(asides)), asides)


class Damage:
    """Damages a copy of a store, and knows what an account must say of it."""

    def __init__(self, root: Path, asides: dict[str, str]) -> None:
        self.root = root
        self.asides = asides
        self.said: dict[str, str] = {}
        self.promoted = 0

    def at(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def delete(self, name: str) -> None:
        self.at(name).unlink()
        self.said[name] = "missing"

    def truncate(self, name: str) -> None:
        data = self.at(name).read_bytes()
        self.at(name).write_bytes(data[: len(data) // 2])
        self.said[name] = "faulty"

    def empty(self, name: str) -> None:
        self.at(name).write_bytes(b"")
        self.said[name] = "faulty"

    def grow(self, name: str) -> None:
        with self.at(name).open("ab") as file:
            file.write(b" ")
        self.said[name] = "faulty"

    def flip(self, name: str) -> None:
        data = bytearray(self.at(name).read_bytes())
        data[-2] ^= 1
        self.at(name).write_bytes(data)
        self.said[name] = "faulty"

    def value(self, name: str) -> None:
        data = bytearray(self.at(name).read_bytes())
        at = data.index(b'"flux": ') + len(b'"flux": ')
        data[at] = ord("9") if data[at] != ord("9") else ord("8")
        self.at(name).write_bytes(data)
        self.said[name] = "faulty"

    def move(self, name: str) -> None:
        there = f"toy/elsewhere/{Path(name).name}"
        self.at(name).rename(self.at(there))
        self.said |= {name: "missing", there: "misplaced"}

    def rename(self, name: str) -> None:
        there = f"{name}.old"
        self.at(name).rename(self.at(there))
        self.said |= {name: "missing", there: "misplaced"}

    def copy(self, name: str) -> None:
        there = f"toy/copies/of/{Path(name).name}"
        shutil.copy(self.at(name), self.at(there))
        self.said[there] = "misplaced"

    def copy_torn(self, name: str) -> None:
        there = f"toy/torn/{Path(name).stem}.txt"
        data = self.at(name).read_bytes()
        self.at(there).write_bytes(data.rstrip() + b"\n\n")  # other bytes, the same story
        self.said[there] = "misplaced"

    def stray(self, name: str) -> None:
        there = f"toy/other/{Path(name).name}"
        self.at(there).write_bytes(b'{"flux": 1}')
        self.said[there] = "unexpected"

    def stray_empty(self, name: str) -> None:
        there = f"{name}.lock"
        self.at(there).write_bytes(b"")
        self.said[there] = "unexpected"

    def story(self, name: str) -> None:
        data = self.at(name).read_bytes()
        at = data.index(b'planned_recipe": "') + len(b'planned_recipe": "')
        digit = b"0" if data[at : at + 1] != b"0" else b"1"
        self.at(name).write_bytes(data[:at] + digit + data[at + 1 :])
        self.said[name] = "faulty"

    def link_out(self, name: str) -> None:
        self.at(name).unlink()
        self.at(name).symlink_to("/etc/hostname")
        self.said[name] = "faulty"

    def link_dangling(self, name: str) -> None:
        self.at(name).unlink()
        self.at(name).symlink_to("nowhere")
        self.said[name] = "faulty"

    def link_beside(self, name: str) -> None:
        self.at(f"{name}.link").symlink_to(Path(name).name)
        self.said[f"{name}.link"] = "unexpected"

    def link_stored(self, name: str) -> None:
        there = self.at(f"toy/moved/{Path(name).name}")
        self.at(name).rename(there)
        self.at(name).symlink_to(there)
        self.said |= {name: "faulty", f"toy/moved/{Path(name).name}": "misplaced"}

    def hard_link(self, name: str) -> None:
        os.link(self.at(name), self.at(f"outside/{Path(name).name}"))

    def pipe(self, name: str) -> None:
        os.mkfifo(self.at(f"{name}.pipe"))
        self.said[f"{name}.pipe"] = "unexpected"

    def to_promote(self, name: str) -> None:
        self.at(name).rename(self.at(self.asides[name]))
        self.promoted += 1

    def swap(self, name: str, other: str) -> None:
        between = self.at("between")
        self.at(name).rename(between)
        self.at(other).rename(self.at(name))
        between.rename(self.at(other))
        self.said |= {name: "faulty", other: "faulty"}


ONE = (
    "delete", "truncate", "empty", "grow", "flip", "value", "move", "rename", "copy", "copy_torn", "stray", "stray_empty", "story",
    "link_out", "link_dangling", "link_beside", "link_stored", "hard_link", "pipe",
)  # fmt: skip


def entries(root: Path) -> int:
    return sum(
        len(files) + sum((Path(top) / d).is_symlink() for d in dirs) for top, dirs, files in os.walk(root)
    )


@settings(max_examples=25)
@given(st.data())
def test_every_damage_is_classed_right_and_the_sums_close(made: Made, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(ONE), max_size=len(made.products) - 3))
    names = data.draw(st.permutations(made.products))
    root = made.store.parent / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made.store, root)
    damage = Damage(root, made.asides)
    for kind, name in zip(kinds, names, strict=False):
        getattr(damage, kind)(name)
    if data.draw(st.booleans()):
        damage.swap(names[-1], names[-2])
    if promote := data.draw(st.booleans()):
        damage.to_promote(names[-3])
    registry = data.draw(st.sampled_from([made.registry, None])) if not promote else None
    found = account("toy", open_store(f"file://{root}"), registry, plan=made.plan, level="full")
    assert {note.path: note.kind for note in found.notes} == damage.said
    assert found.to_promote == damage.promoted
    assert found.planned == made.plan.document["totals"]["outputs"] == found.states["made"]
    assert sum(found.classes.values()) - found.classes["missing"] == found.found == entries(root / "toy")
    assert found.closes == (not damage.said)
    assert int(found.exit) == (9 if damage.said else 0)
    assert all(note.of in made.products for note in found.of("misplaced"))


def test_what_is_not_read_at_a_level_is_not_said(made: Made) -> None:
    root = made.store.parent / "levels"
    shutil.copytree(made.store, root)
    damage = Damage(root, made.asides)
    for name in made.products:
        damage.value(name)
    store = open_store(f"file://{root}")
    counts = [
        account("toy", store, made.registry, plan=made.plan, level=level).classes["faulty"]
        for level in ("receipt", "sample:50%", "full")
    ]
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2] == len(made.products)


def test_as_columns(made: Made) -> None:
    found = account("toy", open_store(f"file://{made.store}"), made.registry, plan=made.plan)
    assert found.outputs.schema == {
        "state": pl.String,
        "task": pl.String,
        "type": pl.String,
        "data_id": pl.String,
        "path": pl.String,
    }
