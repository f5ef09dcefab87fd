"""The graph of a pipeline or a plan at the level of tasks, as Mermaid, DOT or plain values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.pipeline.definition import Pipeline
from prestow.plan.state import outputs_of

if TYPE_CHECKING:
    from prestow.plan import Plan

LANGUAGES = ("mermaid", "dot")


@dataclass(frozen=True, slots=True)
class Node:
    """A task or a dataset type; ``id`` is ``task:<label>`` or ``type:<name>``.

    Parameters
    ----------
    external : bool
        No task here writes it.
    quanta, jobs, datasets : int or None
        How many a plan has; None without a plan.
    """

    id: str
    kind: str
    name: str
    external: bool = False
    quanta: int | None = None
    jobs: int | None = None
    datasets: int | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands in it."""
        if self.quanta is not None and self.jobs is not None:
            quanta, jobs = "quantum" if self.quanta == 1 else "quanta", "job" if self.jobs == 1 else "jobs"
            return (self.name, f"{self.quanta:,} {quanta}, {self.jobs:,} {jobs}")
        return (self.name,) if self.datasets is None else (self.name, f"{self.datasets:,}")


@dataclass(frozen=True, slots=True)
class Edge:
    """What a task reads, or writes, under one name.

    Parameters
    ----------
    source, target : str
        Ids of nodes.
    optional : bool
        The task can do without it, or need not write it.
    pairs : int or None
        How many pairs of a quantum and a dataset a plan has of it.
    """

    source: str
    target: str
    connection: str
    optional: bool = False
    pairs: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Tasks and dataset types, in the order of the pipeline, and what joins them.

    Examples
    --------
    >>> from prestow.testing.surveys import reduction
    >>> graph_of(reduction()).mermaid().splitlines()[:3]
    ['flowchart TD', '  n0["isr"]', '  n1[("raw")]']
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give nodes and edges as plain values."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "edges": [asdict(edge) for edge in self.edges],
        }

    def text(self, language: str) -> str:
        """Give it in one of `LANGUAGES`."""
        return self.dot() if language == "dot" else self.mermaid()

    def mermaid(self) -> str:
        """Give a Mermaid flow chart: tasks are boxes, dataset types rounded, external ones drums."""
        names = self._names()
        lines = ["flowchart TD"]
        for node in self.nodes:
            label = "<br/>".join(map(_entities, node.lines))
            left, right = (
                ("[", "]") if node.kind == "task" else ("[(", ")]") if node.external else ("([", "])")
            )
            lines.append(f'  {names[node.id]}{left}"{label}"{right}')
        for edge in self.edges:
            arrow = "-.->" if edge.optional else "-->"
            label = f'|"{_entities(text)}"|' if (text := self._label(edge)) else ""
            lines.append(f"  {names[edge.source]} {arrow}{label} {names[edge.target]}")
        return "\n".join(lines)

    def dot(self) -> str:
        """Give a graph in DOT: tasks are boxes, dataset types ellipses, external ones cylinders."""
        lines = ["digraph prestow {", "  rankdir=TB;"]
        for node in self.nodes:
            shape = "box" if node.kind == "task" else "cylinder" if node.external else "ellipse"
            label = "\\n".join(map(_escaped, node.lines))
            lines.append(f'  "{_escaped(node.id)}" [shape={shape}, label="{label}"];')
        for edge in self.edges:
            facts = [f'label="{_escaped(text)}"'] if (text := self._label(edge)) else []
            facts += ["style=dashed"] if edge.optional else []
            more = f" [{', '.join(facts)}]" if facts else ""
            lines.append(f'  "{_escaped(edge.source)}" -> "{_escaped(edge.target)}"{more};')
        return "\n".join([*lines, "}"])

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.mermaid()}\n```"

    def _names(self) -> dict[str, str]:
        return {node.id: f"n{number}" for number, node in enumerate(self.nodes)}

    def _label(self, edge: Edge) -> str:
        name = (edge.source if edge.source.startswith("type:") else edge.target).partition(":")[2]
        parts = [] if edge.connection.lstrip("_") == name else [edge.connection]
        return ": ".join([*parts, *([] if edge.pairs is None else [f"{edge.pairs:,}"])])


def graph_of(pipeline: Pipeline) -> Graph:
    """Give the graph of a pipeline, without any count."""
    return _graph(pipeline, None)


def graph_of_plan(plan: Plan) -> Graph:
    """Give the graph of a plan, with how many quanta, jobs and datasets there are."""
    return _graph(plan.definition, plan)


def _graph(pipeline: Pipeline, plan: Plan | None) -> Graph:
    edges = tuple(_edges(pipeline, None if plan is None else _pairs(plan)))
    counts = None if plan is None else _datasets(plan)
    written = {edge.target for edge in edges if edge.source.startswith("task:")}
    nodes = dict[str, Node]()
    for task in pipeline.tasks:
        count: Mapping[str, int | None] = plan.counts[task.label] if plan is not None else {}
        ident = f"task:{task.label}"
        nodes[ident] = Node(ident, "task", task.label, quanta=count.get("quanta"), jobs=count.get("jobs"))
        for edge in edges:  # a handful for each task
            if ident not in (edge.source, edge.target):
                continue
            other = edge.target if edge.source == ident else edge.source
            name = other.partition(":")[2]
            datasets = None if counts is None else counts.get(name, 0)
            nodes.setdefault(
                other, Node(other, "dataset_type", name, external=other not in written, datasets=datasets)
            )
    return Graph(tuple(nodes.values()), edges)


def _edges(pipeline: Pipeline, pairs: Mapping[tuple[str, str, str], int] | None) -> Iterator[Edge]:
    def count(side: str, task: str, connection: str) -> int | None:
        return None if pairs is None else pairs.get((side, task, connection), 0)

    for task in pipeline.tasks:
        here = f"task:{task.label}"
        for i in task.inputs:
            yield Edge(f"type:{i.type}", here, i.name, i.minimum == 0, count("inputs", task.label, i.name))
        for o in outputs_of(task):
            yield Edge(here, f"type:{o.type}", o.name, o.optional, count("outputs", task.label, o.name))


def _pairs(plan: Plan) -> dict[tuple[str, str, str], int]:
    quanta = plan.tables.scan("quanta").select("quantum", "task")
    return {
        (side, task, connection): count
        for side in ("inputs", "outputs")
        for task, connection, count in plan.tables.scan(side)
        .join(quanta, on="quantum")
        .group_by("task", "connection")
        .agg(pl.len())
        .collect()
        .iter_rows()
    }


def _datasets(plan: Plan) -> dict[str, int]:
    counted = plan.tables.scan("datasets").group_by("type").agg(pl.len()).collect()
    return dict(counted.iter_rows())


def _entities(text: str) -> str:
    """Write a text as it may stand between quotes in Mermaid."""
    return re.sub(r"[^A-Za-z0-9_ .,:+/()=-]", lambda match: f"#{ord(match[0])};", text)


def _escaped(text: str) -> str:
    """Write a text as it may stand between quotes in DOT."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
