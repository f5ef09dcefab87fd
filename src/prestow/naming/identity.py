"""Ids and recipes in columns: for each function of `prestow.model.hashing` its twin.

Each function gives a Polars expression, so that a million ids cost no Python object each. Tests
hold every twin equal to the function it mirrors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
import polars_hash as plh

from prestow.model.hashing import NAMESPACE, SEPARATOR

RULE = 1
"""By which ids and paths are made here: raised with every change of what any of them comes to."""

Text = str | pl.Expr
"""A text for all rows, or an expression (never the name of a column: a bare str is a value)."""

_NAMESPACE_TEXT = "-".join(NAMESPACE.hex()[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def data_id_json(dimensions: Iterable[str], schema: Mapping[str, Any]) -> pl.Expr:
    """Give the canonical JSON of a data ID, from one column for each dimension.

    Parameters
    ----------
    dimensions : iterable of str
        Names of columns; their order does not matter. None gives ``{}``.
    schema : mapping of str to Polars data type
        Of the frame: integers stand as they are, all else is quoted. A null gives null.

    Examples
    --------
    >>> frame = pl.DataFrame({"visit": [12], "instrument": ["sim"]})
    >>> frame.select(data_id_json(["visit", "instrument"], frame.schema)).item()
    '{"instrument":"sim","visit":12}'
    """
    # Values hold no control character, double quote or backslash (`check_value`), so JSON text is
    # plain concatenation.
    parts: list[pl.Expr] = []
    for name in sorted(dimensions):
        quote = "" if schema[name].is_integer() else '"'
        lead = "," if parts else "{"
        parts += [pl.lit(f'{lead}"{name}":{quote}'), pl.col(name).cast(pl.String)]
        if quote:
            parts.append(pl.lit(quote))
    if not parts:
        return pl.lit("{}").alias("data_id")
    return pl.concat_str([*parts, pl.lit("}")]).alias("data_id")


def data_id_text(dimensions: Iterable[str]) -> pl.Expr:
    """Give ``,k=v,k=v`` sorted by name, as it stands in the text of an id."""
    parts: list[pl.Expr] = []
    for name in sorted(dimensions):
        parts += [pl.lit(f",{name}="), pl.col(name).cast(pl.String)]
    return pl.concat_str(parts) if parts else pl.lit("")


def dataset_ids(dataset_type: Text, run: Text, dimensions: Iterable[str]) -> pl.Expr:
    """Give the UUIDv5 of datasets as 16 bytes; twin of `hashing.dataset_id`.

    Examples
    --------
    >>> frame = pl.DataFrame({"detector": [1], "instrument": ["sim"]})
    >>> ids = dataset_ids("bias", "demo", ["detector", "instrument"])
    >>> frame.select(uuid_text(ids)).item()
    'ea49c55a-3728-50b9-9dcd-9f79a977abc2'
    """
    return uuid_bytes(dataset_uuids(dataset_type, run, dimensions)).alias("id")


def quantum_ids(task: Text, run: Text, dimensions: Iterable[str]) -> pl.Expr:
    """Give the UUIDv5 of quanta as 16 bytes; twin of `hashing.quantum_id`."""
    return uuid_bytes(quantum_uuids(task, run, dimensions)).alias("id")


def dataset_uuids(dataset_type: Text, run: Text, dimensions: Iterable[str]) -> pl.Expr:
    """Give what `dataset_ids` gives, as text: what `octets.from_uuid_text` reads whole."""
    return _uuid5("dataset_type=", dataset_type, run, dimensions)


def quantum_uuids(task: Text, run: Text, dimensions: Iterable[str]) -> pl.Expr:
    """Give what `quantum_ids` gives, as text: what `octets.from_uuid_text` reads whole."""
    return _uuid5("quantum=", task, run, dimensions)


def _uuid5(head: str, name: Text, run: Text, dimensions: Iterable[str]) -> pl.Expr:
    # Neighbouring texts that are the same for all rows are one literal: each costs something a row.
    pieces: list[Text] = [head, name, ",run=", run]
    for dimension in sorted(dimensions):
        pieces += [f",{dimension}=", pl.col(dimension).cast(pl.String)]
    parts: list[Text] = []
    for piece in pieces:
        if isinstance(piece, str) and parts and isinstance(parts[-1], str):
            parts[-1] += piece
        else:
            parts.append(piece)
    ids: pl.Expr = plh.concat_str([_expr(part) for part in parts]).uuidhash.uuid5(_NAMESPACE_TEXT)
    return ids.alias("id")


def uuid_text(ids: pl.Expr) -> pl.Expr:
    """Give the text of UUIDs that are 16 bytes."""
    digits = ids.bin.encode("hex")
    spans = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    return pl.concat_str([digits.str.slice(start, count) for start, count in spans], separator="-")


def uuid_bytes(ids: pl.Expr) -> pl.Expr:
    """Give the 16 bytes of UUIDs that are text."""
    return ids.str.replace_all("-", "", literal=True).str.decode("hex")


def recipe_text(recipes: pl.Expr) -> pl.Expr:
    """Give the 32 hexadecimal digits of recipes that are 16 bytes."""
    return recipes.bin.encode("hex")


def digest128(tag: str, *parts: Text) -> pl.Expr:
    """Give the first 128 bits of SHA-256 over tag and parts as text; twin of `hashing.digest128`."""
    text = plh.concat_str([pl.lit(tag), *(_expr(part) for part in parts)], separator=SEPARATOR)
    digest: pl.Expr = text.chash.sha2_256()
    return digest.str.slice(0, 32)


def input_terms(connection: Text, dataset_type: Text, data_id: Text, recipe: Text) -> pl.Expr:
    """Give the term that each input adds to a planned recipe, as 32 hexadecimal digits.

    ``data_id`` is canonical JSON, ``recipe`` 32 hexadecimal digits. Twin of `hashing.input_term`.
    """
    return digest128("input/1", connection, dataset_type, data_id, recipe).alias("term")


def planned_recipes(task: Text, data_id: Text, terms: Text) -> pl.Expr:
    """Give P as 32 hexadecimal digits; twin of `hashing.planned_recipe`.

    Parameters
    ----------
    task : str or expression
        What `hashing.task_digest` gave.
    data_id : str or expression
        The quanta's canonical JSON.
    terms : str or expression
        The sum of all terms modulo 2**128, as 32 hexadecimal digits.
    """
    return digest128("recipe/1", task, data_id, terms).alias("recipe")


def _expr(value: Text) -> pl.Expr:
    return pl.lit(value) if isinstance(value, str) else value
