"""Which run a plan goes to, and what a run is bound to."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import PlanRefusedError
from prestow.naming.universe import load_universe
from prestow.pipeline.definition import CodeBundle, Pipeline
from prestow.project import binding
from prestow.registry import Registry
from prestow.stores import Store, open_store

PIPELINE = Pipeline("demo", "pipeline.yaml", (), {}, code=CodeBundle(b"zip", "a" * 64))
OTHER = replace(PIPELINE, code=CodeBundle(b"other", "b" * 64))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path}/registry.db", load_universe(), create=True) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return open_store(f"file://{tmp_path}/store")


def target(registry: Registry, pipeline: Pipeline = PIPELINE, run: str | None = None) -> binding.Target:
    return binding.choose(registry, pipeline, binding.bound_facts(pipeline, ()), run=run, child_of=None)


def test_the_run_is_the_pipelines_name_unless_said_otherwise(registry: Registry) -> None:
    assert target(registry).run == "demo"
    assert target(registry, run="mine").run == "mine"


@pytest.mark.parametrize("run", ["", "a/b", "..", ".a", "-a", "+a", "a b", "é", "raw-sim", "x" * 101, "a\n"])
def test_a_name_that_cannot_be_a_directory_everywhere_is_refused(run: str) -> None:
    with pytest.raises(PlanRefusedError, match="PST-P003"):
        binding.check_run(run)


def test_a_run_is_bound_once_and_the_same_again_is_fine(registry: Registry, store: Store) -> None:
    binding.bind(registry, store, target(registry))
    binding.bind(registry, store, target(registry))
    with pytest.raises(PlanRefusedError, match="its code changed"):
        binding.bind(registry, store, target(registry, OTHER))


def test_the_second_of_two_operators_is_told_by_the_record(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    """Two registries, one store: the record decides."""
    with Registry.open(f"sqlite:///{tmp_path}/second.db", load_universe(), create=True) as second:
        binding.bind(registry, store, target(registry))
        assert binding.standing(second, store, "demo") is not None
        with pytest.raises(PlanRefusedError, match="PST-P006"):
            binding.bind(second, store, target(second, OTHER))
        assert second.binding("demo") is None


def test_a_run_that_nobody_bound_stands_for_nothing(registry: Registry, store: Store) -> None:
    assert binding.standing(registry, store, "demo") is None


def test_inputs_are_searched_in_parents_then_in_all_raw_runs(registry: Registry) -> None:
    registry.register_runs(["raw-b", "raw-a", "demo", "demo+1"])
    registry.add_parent("demo+1", "demo")
    assert binding.inputs_searched(registry, target(registry, run="demo+1")) == ("demo", "raw-a", "raw-b")


def test_the_chain_holds_the_child_before_its_parent(registry: Registry, store: Store) -> None:
    binding.bind(registry, store, first := target(registry))
    binding.register(registry, store, first)
    child = binding.Target("demo+1", ("demo",), first.facts)
    binding.bind(registry, store, child)
    binding.register(registry, store, child)
    assert child.chain == first.chain
    assert registry.chain_members(first.chain) == ("demo+1", "demo")
    binding.register(registry, store, first)  # the parent planned once more
    assert registry.chain_members(first.chain) == ("demo+1", "demo")
