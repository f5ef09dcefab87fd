"""What a task sees of its quantum."""

from pathlib import Path

import pytest

from prestow.errors import NotInManifestError
from prestow.tasks import Input, Quantum

MANY = 200


def connection(kind: str) -> tuple[Input, ...]:
    return tuple(Input(kind, {"visit": n, "band": "r"}, Path(f"{kind}-{n}")) for n in range(MANY))


@pytest.fixture
def gather() -> Quantum:
    return Quantum("gather", {}, 1, {"frames": connection("frame"), "weights": connection("weight")}, {}, {})


@pytest.mark.parametrize("names", [("frames", "weights"), ("frame", "weight")], ids=["connections", "types"])
def test_each_of_many_inputs_is_found_by_its_data_id_in_turns(
    gather: Quantum, names: tuple[str, str]
) -> None:
    for n in range(MANY):
        for name in names:
            assert gather.path(name, visit=n, band="r") == Path(f"{name.removesuffix('s')}-{n}")


def test_part_of_a_data_id_is_looked_through(gather: Quantum) -> None:
    assert gather.path("frames", visit=7) == Path("frame-7")
    with pytest.raises(NotInManifestError, match=f"{MANY} inputs match"):
        gather.path("frames", band="r")
    with pytest.raises(NotInManifestError, match="not in the plan"):
        gather.path("frames", visit=MANY, band="r")
