"""What is left out, and why: each candidate is kept, or counted once under the first reason it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from prestow.naming.identity import data_id_json
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.frames import restrict
from prestow.plan.keys import ROW
from prestow.plan.matching.sides import Side
from prestow.plan.state import LeftOut, State
from prestow.plan.unmade import Cause, Unmade

EXAMPLES = 1000  # rows of left_out kept for each task and reason; the count is always whole
ROUNDING = 1e-9  # 0.1 of 30 is 3, and not a little more


@dataclass(frozen=True, slots=True)
class Gone:
    """Quanta that have one reason to be left out.

    Parameters
    ----------
    rows : Series
        Rows of the candidates, each once.
    detail : Expr
        Over the candidates' columns and those of ``facts``: what is said of each.
    asked : bool or Series
        Whether a person asked for it; of each row, if that differs.
    """

    reason: str
    rows: pl.Series
    detail: pl.Expr = field(default_factory=lambda: pl.lit(""))
    facts: pl.DataFrame | None = None  # a row for each of ``rows``
    severity: str = "noted"
    asked: bool | pl.Series = False


@dataclass(slots=True)
class Sieve:
    """The candidates of one task on their way through all reasons to leave some out."""

    task: TaskDefinition
    quanta: pl.DataFrame
    inputs: dict[str, pl.DataFrame]
    kept: pl.Series | None = None  # None: all
    asked: pl.Series | None = None  # of those left out
    left_out: list[LeftOut] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)  # for each of left_out, whom it counts

    def leave(self, gone: Gone) -> None:
        """Take quanta out, except those that have gone already."""
        height = self.quanta.height
        rows, facts, asked = gone.rows, gone.facts, gone.asked
        if self.kept is not None:
            still = self.kept.gather(rows)
            rows = rows.filter(still)
            facts = None if facts is None else facts.filter(still)
            asked = asked if isinstance(asked, bool) else asked.filter(still)
        if not rows.len():
            return
        if self.kept is None or self.asked is None:
            self.kept = pl.repeat(value=True, n=height, eager=True, dtype=pl.Boolean)
            self.asked = pl.repeat(value=False, n=height, eager=True, dtype=pl.Boolean)
        self.kept = self.kept.scatter(rows, values=False)
        wanted = (
            rows if asked is True else rows.filter(asked) if isinstance(asked, pl.Series) else rows.clear()
        )
        self.asked = self.asked.scatter(wanted, values=True) if wanted.len() else self.asked
        shown = self.quanta[rows.head(EXAMPLES)]
        shown = shown if facts is None else shown.hstack(facts.head(EXAMPLES))
        named = examples(self.task, shown, gone.detail)
        self.left_out.append(LeftOut(self.task.label, gone.reason, rows.len(), named, gone.severity))
        self.gone.append(replace(gone, rows=rows, facts=facts))

    def count(self, name: str, below: int | None = None) -> pl.Series:
        """Give how many datasets of a connection each candidate has, of those with numbers below one."""
        pairs = self.inputs[name]
        quantum = pairs["quantum"] if below is None else pairs["quantum"].filter(pairs["dataset"] < below)
        runs = quantum.rle().struct.unnest()
        zeros = pl.repeat(0, self.quanta.height, dtype=ROW, eager=True)
        return zeros.scatter(runs["value"], runs["len"]) if runs.height else zeros

    def lacking(self, name: str) -> pl.Series:
        """Give the candidates that have nothing at all of a connection."""
        quantum, height = self.inputs[name]["quantum"], self.quanta.height
        if quantum.len() == height and _each_once(quantum):
            return pl.Series([], dtype=ROW)
        none = pl.repeat(value=True, n=height, eager=True, dtype=pl.Boolean)
        return none.scatter(quantum.unique(), values=False).arg_true() if quantum.len() else none.arg_true()

    def close(self, sides: Iterable[Side]) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame]:
        """Give the quanta that are kept with their pairs, numbered anew, and those that are not."""
        inputs = dict(self.inputs)
        for side in sides:
            if side.asked.len():  # nobody reads what will not be made
                name = side.connection.name
                inputs[name] = inputs[name].filter(pl.col("dataset") < side.real)
        if self.kept is None or self.asked is None:
            return self.quanta, inputs, self.quanta.clear().with_columns(_asked=pl.lit(value=False))
        number = (self.kept.cum_sum() - 1).cast(ROW)
        for name, pairs in inputs.items():
            pairs = pairs.filter(self.kept.gather(pairs["quantum"]))  # noqa: PLW2901 - narrowed
            inputs[name] = pairs.with_columns(number.gather(pairs["quantum"]).alias("quantum"))
        gone = self.quanta.filter(~self.kept).with_columns(_asked=self.asked.filter(~self.kept))
        kept = self.quanta.filter(self.kept)
        return kept.with_columns(pl.int_range(pl.len(), dtype=ROW).alias("_row")), inputs, gone

    def unmade(self, sides: Iterable[Side], gone: pl.DataFrame) -> Unmade:
        """Give those left out, and what they and the others would read, had nothing been left out."""
        height = self.quanta.height
        kept = (
            pl.repeat(value=True, n=height, eager=True, dtype=pl.Boolean) if self.kept is None else self.kept
        )
        made = int(kept.sum())
        behind = (~kept).cum_sum() + made - 1
        number = pl.select(pl.when(kept).then(kept.cum_sum() - 1).otherwise(behind).cast(ROW)).to_series()
        inputs = {}
        for side in sides:
            pairs = self.inputs[side.connection.name]
            touched = ~kept.gather(pairs["quantum"]) | (pairs["dataset"] >= side.real)
            pairs = pairs.filter(touched)
            inputs[side.connection.name] = pairs.with_columns(
                number.gather(pairs["quantum"]).alias("quantum")
            )
        causes = [
            Cause(drop, number.gather(one.rows) - made, one.detail, one.facts)
            for drop, one in zip(self.left_out, self.gone, strict=True)
        ]
        return Unmade(gone, made, inputs, tuple(causes))


def examples(task: TaskDefinition, shown: pl.DataFrame, detail: pl.Expr) -> pl.DataFrame:
    """Give data IDs as texts, each with what is said of it."""
    plain = shown.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))
    return (
        plain.select(data_id_json(task.dimensions, plain.schema), detail.alias("detail")).select(
            pl.col("data_id").cast(pl.String), pl.col("detail").cast(pl.String)
        )
        if shown.height
        else pl.DataFrame(schema={"data_id": pl.String, "detail": pl.String})
    )


def _each_once(quantum: pl.Series) -> bool:
    return not quantum.len() or (quantum[0] == 0 and quantum[-1] == quantum.len() - 1 and bool(
        (quantum.slice(1) > quantum.slice(0, quantum.len() - 1)).all()
    ))  # fmt: skip


def drop_missing(sieve: Sieve, sides: Sequence[Side]) -> None:
    """Leave out what lacks a required input, or has only such as will not be made."""
    for side in sides:
        if not side.required:
            continue
        name = side.connection.name
        severity = "waivable" if side.connection.prerequisite else "noted"
        needs = _needs(side.connection.type, side.keys, related=bool(side.relations))
        sieve.leave(Gone(f"missing:{name}", sieve.lacking(name), needs, severity=severity))
        if not side.asked.len():
            continue
        pairs = sieve.inputs[name]
        real = pairs["quantum"].filter(pairs["dataset"] < side.real)
        lost = pairs.filter(pairs["dataset"] >= side.real)
        none = pl.repeat(value=True, n=sieve.quanta.height, eager=True, dtype=pl.Boolean)
        none = none.scatter(real.unique(), values=False) if real.len() else none
        lost = lost.filter(none.gather(lost["quantum"]))
        lost = lost.with_columns(side.asked.gather(lost["dataset"] - side.real).alias("asked"))
        # Asked for only if all that it lacks was.
        rows = lost.group_by("quantum").agg(pl.col("asked").all(), number=pl.len()).sort("quantum")
        text = pl.format("{} {} left out before", pl.col("number"), pl.lit(side.connection.type))
        facts = rows.select("number")
        sieve.leave(Gone(f"upstream:{name}", rows["quantum"], text, facts, asked=rows["asked"]))


def drop_unselected(sieve: Sieve, state: State) -> None:
    """Leave out what the task's own selection does not take."""
    selection = state.selections.get((sieve.task.label, ""))
    if selection is not None:
        taken = restrict(sieve.quanta, selection, state, keep_unknown=False)["_row"]
        gone = pl.repeat(value=True, n=sieve.quanta.height, eager=True, dtype=pl.Boolean)
        gone = gone.scatter(taken, values=False) if taken.len() else gone
        sieve.leave(Gone("where", gone.arg_true(), pl.lit(sieve.task.where), asked=True))


def drop_too_few(sieve: Sieve, sides: Sequence[Side], most: Mapping[str, int | None]) -> None:
    """Leave out what has less of a connection than its minimum.

    A fraction is of what there would be, had nothing been left out but what a person asked to.

    Parameters
    ----------
    most : mapping of connection to int or None
        How many there can be at most, where that is known: a minimum above it is a mistake.
    """
    for side in sides:
        minimum, name = side.connection.minimum, side.connection.name
        if not side.required or isinstance(minimum, str) or minimum == 1:
            continue
        have = planned = sieve.count(name, side.real if side.asked.len() else None)
        if isinstance(minimum, float):
            planned = have + _unasked(sieve, side)
            share = (planned.cast(pl.Float64) * minimum - ROUNDING).ceil()
            needed = pl.select(pl.max_horizontal(pl.lit(1.0), share).cast(ROW)).to_series()
        else:
            needed = pl.repeat(minimum, have.len(), dtype=ROW, eager=True)
        few = (have < needed).arg_true()
        bound = most.get(name)
        hopeless = bound is not None and isinstance(minimum, int) and minimum > bound
        text = pl.format("{} of at least {}", pl.col("have"), pl.col("needed"))
        if isinstance(minimum, float):
            text = pl.format("{}, of {} planned", text, pl.col("planned"))
        elif hopeless:
            text = pl.format("{}, and there can be at most {}", text, pl.lit(bound))
        facts = pl.DataFrame(
            {"have": have.gather(few), "needed": needed.gather(few), "planned": planned.gather(few)}
        )
        severity = "blocking" if hopeless else "noted"
        sieve.leave(Gone(f"minimum:{name}", few, text, facts, severity))


def _unasked(sieve: Sieve, side: Side) -> pl.Series:
    """Count for each candidate what is left out of a connection though nobody asked to."""
    zeros = pl.repeat(0, sieve.quanta.height, dtype=ROW, eager=True)
    if not side.asked.len():
        return zeros
    pairs = sieve.inputs[side.connection.name]
    lost = pairs.filter(pairs["dataset"] >= side.real)
    lost = lost.filter(~side.asked.gather(lost["dataset"] - side.real))
    runs = lost["quantum"].rle().struct.unnest()
    return zeros.scatter(runs["value"], runs["len"]) if runs.height else zeros


def _needs(dataset_type: str, keys: Sequence[str], *, related: bool) -> pl.Expr:
    """Say what is missing; what goes with a quantum by a relation does not have the values itself."""
    if not keys:
        return pl.lit(f"no {dataset_type}")
    parts = [pl.format(f"{key}={{}}", pl.col(key).cast(pl.String).fill_null("none")) for key in keys]
    return pl.concat_str(
        [pl.lit(f"no {dataset_type} {'for' if related else 'with'} "), pl.concat_str(parts, separator=",")]
    )
