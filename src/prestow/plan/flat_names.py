"""Names where the layout is flat: all files of a job in one directory, known by their last part alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl
import polars_hash as plh

from prestow.errors import PrestowError, Problem
from prestow.model.data_id import DataId
from prestow.model.universe import Universe
from prestow.naming import identity
from prestow.naming.templates import Field, Template, compile_template
from prestow.pipeline.definition import Pipeline
from prestow.plan.state import State, outputs_of

SHOWN = 5
_SCHEMA = {"kind": pl.UInt16, "row": pl.UInt32, "base": pl.UInt64}


def flat_clashes(state: State) -> Iterator[Problem]:
    """Give a problem (PST-P030) for each pair of dataset types whose files would have one base name.

    Outputs must differ in all of the plan, since a person may collect them anywhere; an input only
    from what else its job has. Case does not count.
    """
    pipeline = state.request.pipeline
    made = [output.type for task in pipeline.tasks for output in outputs_of(task)]
    names = [*made, *sorted(state.existing)]
    hashed = pl.concat(
        [pl.DataFrame(schema=_SCHEMA), *(_bases(state, name, i) for i, name in enumerate(names))]
    )
    # Few plans have any: all that follows is for those that do.
    again = hashed.filter(pl.col("base").is_duplicated())
    if not again.height:
        return
    outputs = again.filter(pl.col("kind") < len(made))
    yield from _told(
        state, names, outputs.filter(pl.col("base").is_duplicated()).with_columns(job=0), "one plan"
    )
    seen = pl.concat(
        [outputs.join(_jobs(state, names, made), on=["kind", "row"]), _read(state, names, again)]
    )
    seen = seen.unique(["job", "kind", "row"]).filter(pl.struct("job", "base").is_duplicated())
    mixed = seen.filter((pl.col("kind") >= len(made)).any().over("job", "base"))
    yield from _told(state, names, mixed, "one job")


def _bases(state: State, name: str, number: int) -> pl.DataFrame:
    """Give a 64-bit hash of each base name of a type: texts are made, and not kept."""
    frame = state.frame(name)
    column = _column(state, name)
    if column is None or not frame.height:
        return pl.DataFrame(schema=_SCHEMA)
    base: pl.Expr = plh.concat_str([_base(column).str.to_lowercase()])
    hashed: pl.Expr = base.nchash.xxhash64()  # type: ignore[attr-defined]
    found = (
        frame.lazy()
        .select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), hashed.alias("base"))
        .collect()
    )
    return found.drop_nulls().select(pl.lit(number, pl.UInt16).alias("kind"), "row", "base")


def _column(state: State, name: str) -> pl.Expr | None:
    """Give the paths of a type, or None where they are not known: what is wrong then is told elsewhere."""
    if name in state.existing:
        return pl.col("_path") if "_path" in state.existing[name].columns else None
    kind = state.request.pipeline.dataset_types[name]
    try:
        template = compile_template(kind.template, kind.dimensions, state.request.universe, dataset_type=name)
    except PrestowError:
        return None
    known = set(template.columns) <= set(state.planned[name].columns)
    return template.column(state.request.run) if known else None


def _base(paths: pl.Expr) -> pl.Expr:
    return paths.str.extract(r"([^/]*)$", 1)


def _jobs(state: State, names: list[str], made: list[str]) -> pl.DataFrame:
    """Give the job of each output: kind, row, job."""
    assert state.grouping is not None, "the pass 'group' has run"
    rows = state.grouping.quanta.select("task", "row", "job")
    parts = [pl.DataFrame(schema={"kind": pl.UInt16, "row": pl.UInt32, "job": pl.UInt32})]
    for number, task in enumerate(state.request.pipeline.tasks):
        mine = rows.filter(pl.col("task") == number).select("row", "job")
        parts += [
            mine.select(pl.lit(names.index(o.type), pl.UInt16).alias("kind"), "row", "job")
            for o in outputs_of(task)
            if o.type in made
        ]
    return pl.concat(parts)


def _read(state: State, names: list[str], again: pl.DataFrame) -> pl.DataFrame:
    """Give what jobs read, of files whose base name stands more than once: kind, row, base, job."""
    assert state.grouping is not None, "the pass 'group' has run"
    parts = [pl.DataFrame(schema={**_SCHEMA, "job": pl.UInt32})]
    for number, task in enumerate(state.request.pipeline.tasks):
        jobs = state.grouping.quanta.filter(pl.col("task") == number).select(quantum="row", job="job")
        for connection in task.inputs:
            kind = names.index(connection.type)
            few = again.filter(pl.col("kind") == kind)
            if few.height:
                pairs = state.parts[task.label].inputs[connection.name].rename({"dataset": "row"})
                found = pairs.join(few, on="row", how="inner").join(jobs, on="quantum", how="inner")
                parts.append(found.select(*_SCHEMA, "job"))
    return pl.concat(parts)


def _told(state: State, names: list[str], clashes: pl.DataFrame, where: str) -> Iterator[Problem]:
    """Give a problem for each pair of types, with its first two files."""
    if not clashes.height:
        return
    groups = clashes.sort("job", "base", "kind", "row").group_by("job", "base", maintain_order=True)
    firsts = groups.agg(pl.col("kind", "row").head(2)).sort(pl.col("kind", "row").list.first(), "job")
    causes = firsts.group_by("kind", maintain_order=True).agg(pl.len().alias("n"), pl.col("row").first())
    for kinds, count, rows in causes.head(SHOWN).iter_rows():
        (one, base), (other, _) = (_shown(state, names[k], r) for k, r in zip(kinds, rows, strict=True))
        more = f" (and {count - 1:,} more such names)" if count > 1 else ""
        yield Problem(
            "PST-P030",
            f"{one} and {other} would have one base name in {where}, where the layout is flat: {base}{more}",
            f"{one} · {other}",
            "let the last part of the template tell them apart, or plan without --flat",
        )


def _shown(state: State, name: str, row: int) -> tuple[str, str]:
    frame = state.frame(name)[row : row + 1]
    dimensions = state.request.pipeline.dataset_types[name].dimensions
    frame = frame.with_columns(
        pl.col(d).cast(pl.String) for d, kind in frame.schema.items() if kind == pl.Enum
    )
    column = _column(state, name)
    assert column is not None, "it has a base name"
    data_id, path = frame.select(
        identity.data_id_json(dimensions, frame.schema), _base(column).alias("base")
    ).row(0)
    return f"{name}{{{DataId.from_json(data_id)}}}", path


@dataclass(frozen=True, slots=True)
class FlatDoubt:
    """Two datasets that a template tells apart, but not by the last part of their names."""

    type: str
    first: str
    second: str
    base: str

    @property
    def text(self) -> str:
        """Give it for people."""
        return f"{self.first} and {self.second} would both be {self.base} where the layout is flat"


def flat_doubts(pipeline: Pipeline, universe: Universe) -> tuple[FlatDoubt, ...]:
    """Give, for each type written whose base names may repeat, two datasets as a counterexample.

    By the templates alone: of one type a base name repeats where its last part lacks a dimension; of
    two, where their last parts are equal but for the names of fields.
    """
    found: list[FlatDoubt] = []
    shapes: dict[tuple[str, ...], str] = {}
    made = dict.fromkeys(o.type for task in pipeline.tasks for o in outputs_of(task))
    for name in made:
        kind = pipeline.dataset_types[name]
        template = compile_template(kind.template, kind.dimensions, universe, dataset_type=name)
        last = _last(template)
        fields = {part.name for part in last if isinstance(part, Field)}
        for lacking in [d for d in template.required if d not in fields][:1]:
            values = [_sample(template, universe, lacking, which) for which in (0, 1)]
            one, other = (f"{name}{{{DataId({d: v[d] for d in template.required})}}}" for v in values)
            found.append(FlatDoubt(name, one, other, template.path("run", values[0]).rpartition("/")[2]))
        shape = tuple(part.lower() if isinstance(part, str) else "{}" for part in last)
        twin = shapes.setdefault(shape, name)
        if twin != name:
            found.append(
                FlatDoubt(
                    name, twin, name, "".join(p if isinstance(p, str) else f"{{{p.name}}}" for p in last)
                )
            )
    return tuple(found)


def _last(template: Template) -> list[str | Field]:
    """Give the parts of a template after its last ``/``."""
    last: list[str | Field] = []
    for part in template.parts:
        if isinstance(part, str) and "/" in part:
            last = [part.rpartition("/")[2]]
        else:
            last.append(part)
    return [part for part in last if part != ""]


def _sample(template: Template, universe: Universe, differs: str, which: int) -> Mapping[str, str | int]:
    names = dict.fromkeys(itertools.chain(template.required, template.columns))
    return {
        name: (which if name == differs else 0)
        if universe.dimensions[name].type == "int"
        else "ab"[which if name == differs else 0]
        for name in names
    }
