"""The graph of tasks: complete, deterministic, and readable by what draws it."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from prestow.pipeline.definition import InputConnection, OutputConnection, Pipeline
from prestow.plan import Request, build_plan
from prestow.results.graph import Edge, Graph, Node, graph_of, graph_of_plan
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task

ODD = 'a "b" \\ <c> #1; | [x] ünï end'

LABEL = r'"(?:[A-Za-z0-9_ .,:+/()=-]|#\d+;|<br/>)+"'
MERMAID_NODE = re.compile(rf"  n\d+(?:\[{LABEL}\]|\[\({LABEL}\)\]|\(\[{LABEL}\]\))")
MERMAID_EDGE = re.compile(rf"  n\d+ (?:-->|-\.->)(?:\|{LABEL}\|)? n\d+")
STRING = r'"(?:[^"\\\n]|\\.)*"'
DOT_NODE = re.compile(rf"  {STRING} \[shape=(?:box|ellipse|cylinder), label={STRING}\];")
DOT_EDGE = re.compile(rf"  {STRING} -> {STRING}(?: \[(?:label={STRING})?(?:, )?(?:style=dashed)?\])?;")


def plan_of(visits=4):
    return build_plan(
        Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(visits=visits, detectors=2)
    )


def odd() -> Graph:
    return Graph(
        (Node("task:x", "task", ODD), Node(f"type:{ODD}", "dataset_type", ODD, external=True, datasets=3)),
        (Edge(f"type:{ODD}", "task:x", ODD + "2", optional=True, pairs=1234),),
    )


def check_mermaid(text: str) -> tuple[int, int]:
    """Give how many nodes and edges there are; every line is one, and every edge joins nodes."""
    head, *lines = text.splitlines()
    assert head == "flowchart TD"
    nodes = [line for line in lines if MERMAID_NODE.fullmatch(line)]
    edges = [line for line in lines if MERMAID_EDGE.fullmatch(line)]
    assert len(nodes) + len(edges) == len(lines), set(lines) - {*nodes, *edges}
    known = {re.match(r"  (n\d+)", line)[1] for line in nodes}
    assert {end for line in edges for end in re.findall(r"\bn\d+\b", re.sub(LABEL, "", line))} <= known
    return len(nodes), len(edges)


def check_dot(text: str) -> tuple[int, int]:
    head, rank, *lines, last = text.splitlines()
    assert (head, rank, last) == ("digraph prestow {", "  rankdir=TB;", "}")
    nodes = [line for line in lines if DOT_NODE.fullmatch(line)]
    edges = [line for line in lines if DOT_EDGE.fullmatch(line)]
    assert len(nodes) + len(edges) == len(lines)
    return len(nodes), len(edges)


def test_a_pipeline_is_drawn_without_a_plan():
    graph = graph_of(reduction())
    kinds = {node.id: (node.kind, node.external) for node in graph.nodes}
    assert kinds["type:raw"] == kinds["type:bias"] == ("dataset_type", True)
    assert kinds["type:isr"] == ("dataset_type", False)
    assert kinds["task:coadd"] == ("task", False)
    assert {(e.source, e.target) for e in graph.edges} >= {("type:raw", "task:isr"), ("task:isr", "type:isr")}
    assert check_mermaid(graph.mermaid()) == check_dot(graph.dot()) == (len(graph.nodes), len(graph.edges))
    assert all(node.quanta is None and node.datasets is None for node in graph.nodes)


def test_a_plan_says_how_many():
    plan = plan_of()
    graph = graph_of_plan(plan)
    nodes = {node.id: node for node in graph.nodes}
    assert (nodes["task:isr"].quanta, nodes["task:isr"].jobs) == (8, 8)
    assert (nodes["type:raw"].datasets, nodes["type:flat"].datasets, nodes["type:coadd"].datasets) == (
        8,
        4,
        4,
    )
    pairs = {(e.source, e.target): e.pairs for e in graph.edges}
    assert pairs["type:aligned", "task:coadd"] == 8
    assert sum(e.pairs for e in graph.edges if e.target.startswith("task:")) == plan.tables["inputs"].height
    assert sum(e.pairs for e in graph.edges if e.source.startswith("task:")) == plan.tables["outputs"].height
    assert check_mermaid(graph.mermaid()) == check_dot(graph.dot()) == (len(nodes), len(graph.edges))
    assert "8 quanta, 8 jobs" in graph.mermaid()
    assert graph_of_plan(plan_of()) == graph


def test_optional_connections_are_dashed_and_named_where_the_name_says_more():
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("isr", "visit", "detector"),
    )
    reads = (InputConnection("science", "raw"), InputConnection("extra", "raw", 0))
    tasks = (task("isr", ["visit", "detector"], reads, [OutputConnection("isr", "isr", optional=True)]),)
    text = graph_of(Pipeline("toy", "", tasks, {t.name: t for t in types})).mermaid()
    assert '-->|"science"|' in text
    assert '-.->|"extra"|' in text
    assert re.search(r"-\.-> n\d+$", text, re.MULTILINE)


def test_prototypes_are_outputs_too():
    pipeline = reduction()
    first = replace(pipeline.tasks[0], prototypes=("log",))
    graph = graph_of(replace(pipeline, tasks=(first, *pipeline.tasks[1:])))
    assert ("task:isr", "type:isr_log") in {(e.source, e.target) for e in graph.edges}


def test_odd_names_break_nothing():
    assert check_mermaid(odd().mermaid()) == check_dot(odd().dot()) == (2, 1)
    assert "#34;b#34;" in odd().mermaid()
    assert '\\"b\\" \\\\ <c>' in odd().dot()


@pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot is not installed")
@pytest.mark.parametrize("graph", [odd(), graph_of(reduction()), graph_of_plan(plan_of())])
def test_graphviz_reads_it(graph: Graph):
    subprocess.run(["dot", "-Tsvg"], input=graph.dot().encode(), check=True, capture_output=True)
