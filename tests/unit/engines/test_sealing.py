"""Which failures are sealed as lost: stories first, then the law against its plain reading."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from prestow.engines.sealing import Need, Standing, to_seal


@dataclass
class Graph:
    """Quanta by row: connections as (needed, existing, producers), and what is settled."""

    inputs: dict[int, list[tuple[int, int, list[int]]]]
    settled: dict[int, Standing] = field(default_factory=dict)

    def needs(self, row: int) -> list[Need]:
        return [Need(n, e, [(p, 0) for p in producers]) for n, e, producers in self.inputs[row]]

    def consumers(self, row: int) -> list[int]:
        return [
            c
            for c, needs in self.inputs.items()
            if c not in self.settled and any(row in p for _, _, p in needs)
        ]

    def standing(self, producer: int, dataset: int) -> Standing:
        return self.settled.get(producer, Standing.OPEN)

    def seal(self, *candidates: int) -> list[int]:
        return to_seal(candidates, needs=self.needs, consumers=self.consumers, standing=self.standing)


PRESENT = Standing.PRESENT


def three_visits(minimum: int) -> Graph:
    """Rows 0-2 isr, 3-5 align, 6 coadd."""
    return Graph(
        {
            **{row: [] for row in range(3)},
            **{3 + row: [(1, 0, [row])] for row in range(3)},
            6: [(minimum, 0, [3, 4, 5])],
        }
    )


def test_a_loss_is_sealed_once_everything_else_of_the_gather_is_settled() -> None:
    graph = three_visits(2)
    graph.settled = {1: PRESENT, 2: PRESENT, 4: PRESENT, 5: PRESENT}
    assert graph.seal(0) == [0]


def test_nothing_is_sealed_while_another_input_of_the_gather_is_open() -> None:
    graph = three_visits(2)
    graph.settled = {1: PRESENT, 2: PRESENT, 4: PRESENT}
    assert graph.seal(0) == []


def test_nothing_is_sealed_when_the_minimum_would_not_hold() -> None:
    graph = three_visits(2)
    graph.settled = {2: PRESENT, 5: PRESENT}
    assert graph.seal(0, 1) == []


def test_two_losses_do_not_wait_for_each_other() -> None:
    graph = three_visits(1)
    graph.settled = {2: PRESENT, 5: PRESENT}
    assert graph.seal(0, 1) == [0, 1]


def test_a_gather_that_needs_all_is_no_reason_to_seal() -> None:
    graph = three_visits(3)
    graph.settled = {1: PRESENT, 2: PRESENT, 4: PRESENT, 5: PRESENT}
    assert graph.seal(0) == []


def test_what_nothing_reads_is_sealed() -> None:
    assert Graph({0: [], 1: []}).seal(1) == [1]


def test_a_failure_that_is_not_tolerated_keeps_the_gather_open() -> None:
    graph = three_visits(1)
    graph.settled = {2: PRESENT, 5: PRESENT}
    assert graph.seal(0) == []  # row 1 failed too, but its task says stop


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, list[int]]:
    size = draw(st.integers(1, 9))
    inputs: dict[int, list[tuple[int, int, list[int]]]] = {}
    for row in range(size):
        needs = []
        for _ in range(draw(st.integers(0, 2)) if row else 0):
            producers = sorted(draw(st.sets(st.integers(0, row - 1), min_size=1, max_size=3)))
            existing = draw(st.integers(0, 1))
            needs.append((draw(st.integers(0, len(producers) + existing)), existing, producers))
        inputs[row] = needs
    graph = Graph(inputs)
    for row in range(size):  # settled only where its inputs are
        if all(p in graph.settled for _, _, producers in inputs[row] for p in producers) and draw(
            st.booleans()
        ):
            graph.settled[row] = draw(st.sampled_from([Standing.PRESENT, Standing.ABSENT]))
    able = [
        row
        for row in range(size)
        if row not in graph.settled
        and all(p in graph.settled for _, _, producers in inputs[row] for p in producers)
    ]
    return graph, sorted(draw(st.sets(st.sampled_from(able)))) if able else []


@given(graphs())
def test_sealed_is_what_lies_above_a_gather_that_can_then_run_and_nothing_else(
    case: tuple[Graph, list[int]],
) -> None:
    graph, candidates = case

    def gone(row: int) -> bool:
        if row in graph.settled:
            return False
        return row in candidates or not enough(row)

    def there(row: int) -> bool:
        return not gone(row) and graph.settled.get(row) is not Standing.ABSENT

    def touched(row: int) -> bool:
        return any(gone(p) for _, _, producers in graph.inputs[row] for p in producers)

    def enough(row: int) -> bool:
        """Without an input that is gone, a shortage is the node's business, not the engine's."""
        return not touched(row) or all(
            e + sum(map(there, producers)) >= n for n, e, producers in graph.inputs[row]
        )

    def known(row: int) -> bool:
        return all(
            p in graph.settled or (gone(p) and (p in candidates or known(p)))
            for _, _, producers in graph.inputs[row]
            for p in producers
        )

    def saves(row: int) -> bool:
        """Whether below this lost or blocked quantum something can run without it."""
        return any(saves(c) if gone(c) else known(c) for c in graph.consumers(row) if c not in candidates)

    expected = [row for row in candidates if not graph.consumers(row) or saves(row)]
    assert graph.seal(*candidates) == expected
