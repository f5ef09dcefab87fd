"""What is compared: the datasets of a run, of a plan, or of files, in one frame."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import read_receipt, receipt_names
from prestow.errors import Problem, ProjectError, StoreError
from prestow.formats import open_format
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.naming.identity import data_id_json
from prestow.plugins import names
from prestow.stores import Store, Walkable

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.registry import Registry

SCHEMA = {
    "type": pl.String, "data_id": pl.String, "content": pl.String, "format": pl.String, "store": pl.String,
    "path": pl.String,
}  # fmt: skip

_ENDINGS = {".fits.gz": "fits", ".fits.fz": "fits", ".fit": "fits", ".fts": "fits", ".yml": "yaml"}


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison.

    Parameters
    ----------
    name : str
        What people call it.
    datasets : DataFrame
        ``type``, ``data_id`` (canonical JSON), ``content`` (digest), ``format``, ``store`` (null for a
        file of this machine) and ``path``.
    """

    name: str
    datasets: pl.DataFrame


def side_of_run(registry: Registry, store: Store, run: str, *, store_name: str) -> Side | None:
    """Give what a run or chain has: by the registry, and what is not taken in yet by its receipts.

    Returns
    -------
    Side or None
        None if nothing of that name is known.
    """
    known = registry.collections()
    runs = registry.chain_members(run) if run in known else (run,)
    taken = _taken_in(registry, run) if run in known else pl.DataFrame(schema={**SCHEMA, "id": pl.Binary})
    waiting = [row for one in runs for row in _waiting(registry, store, one, store_name)]
    if run not in known and not waiting:
        return None
    fresh = pl.DataFrame(waiting, schema=SCHEMA, orient="row")
    rows = pl.concat([taken.select(list(SCHEMA)), fresh]).unique(
        ("type", "data_id"), keep="first", maintain_order=True
    )
    return Side(f"run {run}", rows)


def _taken_in(registry: Registry, run: str) -> pl.DataFrame:
    types = registry.dataset_types()
    table = pl.from_arrow(registry.datasets(list(types), [run]))
    assert isinstance(table, pl.DataFrame)
    parts = [pl.DataFrame(schema=SCHEMA)]
    for (name,), part in table.partition_by("type", as_dict=True).items():
        texts = data_id_json(types[name].dimensions, part.schema).alias("data_id")
        parts.append(part.with_columns(texts).select(pl.col(c).cast(kind) for c, kind in SCHEMA.items()))
    return pl.concat(parts)


def _waiting(
    registry: Registry, store: Store, run: str, store_name: str
) -> Iterator[tuple[Any, ...]]:  # Any: a row
    """Give the outputs of receipts that were not taken in: one small file read for each quantum."""
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    # a loop over names, as listing a store is one; only receipts that are news are read
    known = {raw.hex() for raw in registry.quanta(run)["id"].to_pylist()}
    for name in receipt_names(store, run):
        quantum = name.rsplit("/", 1)[-1].removesuffix(".json")
        if quantum.replace("-", "") in known:
            continue
        receipt = read_receipt(store, name)
        for output in receipt.outputs if receipt is not None else ():
            if output.state == "made":
                promoted = store.size(output.path) == output.size
                place = output.path if promoted else str(output.aside)
                text = canonical_json(dict(output.data_id))
                yield output.type, text, output.content, output.format, store_name, place


def side_of_plan(registry: Registry, store: Store, plan: Plan, *, store_name: str) -> Side:
    """Give what is made of a plan's outputs."""
    name = f"plan {plan.id[:8]}"
    whole = side_of_run(registry, store, plan.run, store_name=store_name)
    if whole is None:
        return Side(name, pl.DataFrame(schema=SCHEMA))
    planned = plan.tables["datasets"].filter("planned").select("type", "data_id")
    return Side(name, whole.datasets.join(planned, on=["type", "data_id"], how="semi"))


def sides_of_files(a: Path, b: Path) -> tuple[Side, Side]:
    """Give two files, or two directories of files, to compare.

    Two files are compared whatever they are called. In directories a product is known by its story,
    another file by its path below the directory.

    Raises
    ------
    ProjectError
        PST-G005 if one is a file and the other a directory.
    TaskError
        PST-N008 if a file is damaged.
    """
    if a.is_dir() != b.is_dir():
        what = "a file cannot be compared with a directory"
        raise ProjectError(Problem("PST-G005", what, f"{a} and {b}", "name two files, or two directories"))
    if a.is_dir():
        return side_of_directory(a), side_of_directory(b)
    kinds = format_of(a), format_of(b)
    kind = (kinds[0] if kinds[0] == kinds[1] else "") or ("file" if all(kinds) or not any(kinds) else None)
    rows = [
        [(kind or k or "file", "{}", _content(p, k), k, None, str(p))]
        for p, k in zip((a, b), kinds, strict=True)
    ]
    first, second = (pl.DataFrame(row, schema=SCHEMA, orient="row") for row in rows)
    return Side(str(a), first), Side(str(b), second)


def side_of_directory(directory: Path) -> Side:
    """Give all files below a directory; a product by its story, another file by its path."""
    rows = []
    for folder, inner, files in os.walk(directory):
        inner[:] = sorted(d for d in inner if not d.startswith((".", "_")))
        for path in (Path(folder) / name for name in sorted(files)):
            kind = format_of(path)
            if kind:
                story = open_format(kind).read_story(path)
                place = canonical_json({"file": str(path.relative_to(directory))})
                who = (story.type, story.data_id) if story is not None else (kind, place)
                rows.append((*who, _content(path, kind), kind, None, str(path)))
    return Side(str(directory), pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def _content(path: Path, kind: str) -> str:
    return open_format(kind).content_digest(path) if kind else sha256_hex(path.read_bytes())


def format_of(path: Path) -> str:
    """Give the format that a file's name says, or an empty text.

    Examples
    --------
    >>> format_of(Path("coadd.fits")), format_of(Path("a.fits.gz")), format_of(Path("notes.txt"))
    ('fits', 'fits', '')
    """
    endings = {**_ENDINGS, **{open_format(name).suffix: name for name in names("formats")}}
    return next((kind for ending, kind in endings.items() if path.name.lower().endswith(ending)), "")


def choose_sides(
    words: Sequence[str], registry: Registry, store: Store, plans: Mapping[str, Plan], *, store_name: str
) -> tuple[Side, Side]:
    """Give the two sides that two words mean: runs or chains, plans, or paths.

    Parameters
    ----------
    plans : mapping of word to Plan
        The plans that words mean, where they mean one; a run of that name is preferred.

    Raises
    ------
    ProjectError
        PST-G003 for each word that means nothing.
    """
    sides: list[Side | Path] = []
    problems: list[Problem] = []
    for word in words:
        path = Path(word)
        side = (
            None
            if os.sep in word.rstrip(os.sep)
            else side_of_run(registry, store, word, store_name=store_name)
        )
        if side is None and word in plans:
            side = side_of_plan(registry, store, plans[word], store_name=store_name)
        if side is not None:
            sides.append(side)
        elif path.exists():
            sides.append(path)
        else:
            problems.append(_unknown(word, registry))
    if problems:
        raise ProjectError(*problems)
    first, second = sides
    if isinstance(first, Path) and isinstance(second, Path):
        return sides_of_files(first, second)
    one, other = (side_of_directory(s) if isinstance(s, Path) else s for s in (first, second))
    return one, other


def _unknown(word: str, registry: Registry) -> Problem:
    known = list(registry.collections())
    near = difflib.get_close_matches(word, known, 1)
    fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
    return Problem("PST-G003", f"no run, chain, plan or file '{word}'", "prestow compare", fix)
