"""What is known of each dataset type and task before it runs: rules, from history, hints or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from prestow.pipeline.definition import Pipeline, TaskDefinition
from prestow.plan.forecast_history import History
from prestow.plan.forecast_model import BYTES, SECONDS, UNKNOWN, Part, Prior, Rule, guess, learn
from prestow.plan.state import State, outputs_of

PROTOTYPE = 3_000
"""Bytes of a configuration, log … that the node writes by itself, where no run tells."""

PAPERS = 3_000
"""Bytes of a quantum's receipt and its share of a report, where no run tells."""

_COUNTED = {"cpu_seconds": "cpu_seconds", "output_bytes": "bytes"}  # hints, and where a plan counts them


@dataclass(frozen=True, slots=True)
class Rules:
    """A rule for each dataset type that is written, and for each task.

    Parameters
    ----------
    sizes : mapping of dataset type to Rule
        Bytes of a file.
    cpu, wall : mapping of task to Rule
        Seconds of a quantum, of CPU and by the clock.
    papers : mapping of task to Rule
        Bytes of a quantum's receipt and its share of a report.
    """

    sizes: Mapping[str, Rule]
    cpu: Mapping[str, Rule]
    wall: Mapping[str, Rule]
    papers: Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Need:
    """How much of a task there is: quanta, and datasets that they read, one for each reader.

    ``hints`` is what its quanta come to by its hints, where these depend on the quantum.
    """

    quanta: int
    inputs: int
    hints: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Needs:
    """How much of each task there is, without looking at any row."""

    pipeline: Pipeline
    tasks: Mapping[str, Need] = field(default_factory=dict)

    @classmethod
    def of_state(cls, state: State) -> Needs:
        """Count what the passes have so far."""
        sums = state.grouping.sums if state.grouping is not None else {}
        return cls(
            state.request.pipeline,
            {
                label: Need(
                    part.quanta.height,
                    sum(pairs.height for pairs in part.inputs.values()),
                    sums.get(label, {}),
                )
                for label, part in state.parts.items()
            },
        )

    @classmethod
    def of_counts(cls, pipeline: Pipeline, counts: Mapping[str, Mapping[str, int]]) -> Needs:
        """Take the counts of a plan."""
        said = {task.label: task.expressions for task in pipeline.tasks}
        return cls(
            pipeline,
            {
                label: Need(
                    count["quanta"],
                    count["inputs"],
                    {name: count[column] for name, column in _COUNTED.items() if name in said[label]},
                )
                for label, count in counts.items()
            },
        )

    def hint(self, task: TaskDefinition, name: str) -> float:
        """Give what a quantum comes to by a hint: the mean, if it depends on the quantum; 0 if it is silent."""
        if name in task.hints:
            return float(task.hints[name])
        need = self.tasks.get(task.label, Need(0, 0))
        return need.hints.get(name, 0.0) / need.quanta if need.quanta else 0.0

    def products(self, rules: Rules) -> dict[str, Part]:
        """Give what each dataset type comes to."""
        parts = {}
        for task in self.pipeline.tasks:
            need = self.tasks.get(task.label, Need(0, 0))
            for output in outputs_of(task):
                rule = rules.sizes[output.type]
                parts[output.type] = Part(rule, rule.total(need.quanta, need.inputs), need.quanta)
        return parts

    def of_tasks(self, rules: Mapping[str, Rule]) -> dict[str, Part]:
        """Give what each task comes to, in seconds or in bytes of papers."""
        return {
            label: Part(rules[label], rules[label].total(need.quanta, need.inputs), need.quanta)
            for label, need in self.tasks.items()
        }


def make_rules(pipeline: Pipeline, history: History, needs: Needs | None = None) -> Rules:
    """Give the rules for a pipeline: what runs recorded, else what hints say, else that it is unknown.

    Parameters
    ----------
    needs : Needs or None
        Of hints that depend on the quantum it has the sums; without it they say nothing.
    """
    needs = Needs(pipeline) if needs is None else needs
    known = _learnt(history.sizes, "type", pl.col("size"), BYTES)
    sizes: dict[str, Rule] = {}
    for task in pipeline.tasks:
        sizes.update(_sizes(task, known, needs.hint(task, "output_bytes")))
    cpu = _learnt(history.times, "task", pl.col("cpu_seconds"), SECONDS)
    wall = _learnt(history.times, "task", pl.col("seconds"), SECONDS)
    papers = _learnt(history.times, "task", pl.col("receipt") + pl.col("report"), BYTES)
    labels = [task.label for task in pipeline.tasks]
    hints = {
        task.label: guess(seconds)
        for task in pipeline.tasks
        if (seconds := needs.hint(task, "cpu_seconds")) or "cpu_seconds" in task.hints
    }
    return Rules(
        sizes,
        {label: cpu.get(label, hints.get(label, UNKNOWN)) for label in labels},
        {label: wall.get(label, hints.get(label, UNKNOWN)) for label in labels},
        {label: papers.get(label, guess(PAPERS, "assumed")) for label in labels},
    )


def _learnt(frame: pl.DataFrame, key: str, value: pl.Expr, prior: Prior) -> dict[str, Rule]:
    rows = frame.select(key, "run", value.cast(pl.Float64).alias("value"), pl.col("inputs").cast(pl.Float64))
    rows = rows.drop_nulls("value").with_columns(pl.col("inputs").fill_null(0.0))
    rules = {}
    for (name,), part in rows.partition_by(key, as_dict=True, maintain_order=True).items():
        values, inputs = (part[c].to_numpy().astype(np.float64) for c in ("value", "inputs"))
        rules[str(name)] = learn(values, inputs, part["run"].to_list(), prior)
    return rules


def _sizes(task: TaskDefinition, known: Mapping[str, Rule], hint: float) -> dict[str, Rule]:
    """Give a rule for each type that a task writes; a hint is for all its products that no run tells of."""
    own = {output.type for output in task.outputs}
    unknown = sorted(own - known.keys())
    rules = {}
    for output in outputs_of(task):
        if output.type in known:
            rules[output.type] = known[output.type]
        elif output.type not in own:
            rules[output.type] = guess(PROTOTYPE, "assumed")
        elif hint:
            rest = hint - sum(known[kind].constant for kind in own & known.keys())
            rules[output.type] = guess(max(rest, 0.1 * hint) / len(unknown))
        else:
            rules[output.type] = UNKNOWN
    return rules
