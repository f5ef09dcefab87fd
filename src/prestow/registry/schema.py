"""The tables of a registry, from a universe: definitions alone, as SQLAlchemy Core renders them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prestow.model.universe import Universe, ValueType

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData, Table
    from sqlalchemy.types import TypeEngine

SCHEMA_VERSION = "4"
"""Raised with every change of the tables, with a revision in `prestow.registry.migrations` for it."""


VERSION_TABLE = "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
"""The table in which alembic keeps where a registry stands; registries older than it have none."""


def revision(version: str = SCHEMA_VERSION) -> str:
    """Give the name of the revision that makes a schema version.

    Examples
    --------
    >>> revision("4")
    '0004'
    """
    return version.zfill(4)


def statements(universe: Universe, dialect: str = "sqlite") -> list[str]:
    """Give the statements that make an empty registry for a universe."""
    return [statement for several in tables(universe, dialect).values() for statement in several]


def tables(universe: Universe, dialect: str = "sqlite") -> dict[str, list[str]]:
    """Give the statements that make each table of an empty registry, in an order in which they can be made."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    _fixed(metadata)
    for name, dimension in universe.dimensions.items():
        keys = universe.close([name])
        key = [
            sa.Column(k, _type(universe.dimensions[k].type), primary_key=True, autoincrement=False)
            for k in keys
        ]
        implied = [sa.Column(i, _type(universe.dimensions[i].type)) for i in dimension.implies]
        facts = [sa.Column(m, _type(t)) for m, t in dimension.metadata.items()]
        sa.Table(f"dimension_{name}", metadata, *key, *implied, *facts)
    for relation in universe.relations.values():
        _keyed(
            metadata,
            f"relation_{relation.name}",
            universe.close(relation.dimensions),
            universe,
            relation.metadata,
        )
    return {table.name: _render([table], dialect) for table in metadata.sorted_tables}


def new_column(table: str, name: str, kind: ValueType, dialect: str = "sqlite") -> str:
    """Give the statement that adds a column of metadata to a table.

    Examples
    --------
    >>> new_column("dimension_visit", "seeing", "float")
    'ALTER TABLE dimension_visit ADD COLUMN seeing DOUBLE'
    """
    import sqlalchemy as sa
    from sqlalchemy.engine import make_url
    from sqlalchemy.schema import CreateColumn

    column = sa.Column(name, _type(kind))
    sa.Table(table, sa.MetaData(), column)
    rendered = CreateColumn(column).compile(dialect=make_url(f"{dialect}://").get_dialect()())
    return f"ALTER TABLE {table} ADD COLUMN {rendered}"


def data_id_statements(
    number: int, dimensions: Iterable[str], universe: Universe, dialect: str = "sqlite"
) -> list[str]:
    """Give the statements that make the data-ID table of one group of dimensions."""
    import sqlalchemy as sa

    dimensions = tuple(dimensions)
    columns = [sa.Column(d, _type(universe.dimensions[d].type), nullable=False) for d in dimensions]
    unique = [sa.UniqueConstraint(*dimensions)] if dimensions else []
    table = sa.Table(
        f"data_id_{number}", sa.MetaData(), sa.Column("id", _number(), primary_key=True), *columns, *unique
    )
    return _render([table], dialect)


def _render(tables: Iterable[Table], dialect: str) -> list[str]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.schema import CreateIndex, CreateTable

    rendering = make_url(f"{dialect}://").get_dialect()()
    result = []
    for table in tables:
        result.append(str(CreateTable(table).compile(dialect=rendering)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        result += [str(CreateIndex(index).compile(dialect=rendering)).strip() for index in indexes]
    return result


def _type(name: str) -> TypeEngine[Any]:  # Any: of what Python type
    import sqlalchemy as sa

    kinds: dict[str, TypeEngine[Any]] = {  # Any: of what Python type
        "int": sa.BigInteger(), "str": _text(), "float": sa.Double(), "bool": sa.SmallInteger(), "time": sa.BigInteger(),
    }  # fmt: skip
    return kinds[name]


def _text() -> TypeEngine[str]:
    """Give the type of texts, ordered by their octets on any server."""
    import sqlalchemy as sa

    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _number() -> TypeEngine[int]:
    """Give the type of a number that the database gives; an INTEGER key is SQLite's own row number."""
    import sqlalchemy as sa

    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _keyed(
    metadata: MetaData, name: str, keys: Iterable[str], universe: Universe, facts: Mapping[str, ValueType]
) -> Table:
    import sqlalchemy as sa

    columns = [
        sa.Column(k, _type(universe.dimensions[k].type), primary_key=True, autoincrement=False) for k in keys
    ]
    return sa.Table(name, metadata, *columns, *(sa.Column(m, _type(t)) for m, t in facts.items()))


def _fixed(metadata: MetaData) -> None:
    import sqlalchemy as sa

    def text(name: str, *more: object, **options: bool) -> Column[str]:
        return sa.Column(name, _text(), *more, **{"nullable": False, **options})  # type: ignore[arg-type]  # foreign keys

    def number(name: str, *more: object, **options: bool) -> Column[int]:
        return sa.Column(name, sa.BigInteger, *more, **{"nullable": False, **options})  # type: ignore[arg-type]  # foreign keys

    def binary(name: str, length: int, *more: object, **options: bool) -> Column[bytes]:
        return sa.Column(name, sa.LargeBinary(length), *more, **{"nullable": False, **options})  # type: ignore[arg-type]  # foreign keys

    def serial() -> Column[int]:
        return sa.Column("id", _number(), primary_key=True)

    def key(table: str) -> sa.ForeignKey:
        return sa.ForeignKey(f"{table}.id")

    sa.Table("alembic_version", metadata, sa.Column("version_num", sa.String(32), primary_key=True))
    sa.Table("meta", metadata, text("key", primary_key=True), text("value"))
    sa.Table(
        "dataset_type", metadata, serial(), text("name", unique=True), text("dimensions"), text("format")
    )
    sa.Table("dimension_group", metadata, serial(), text("dimensions", unique=True))
    sa.Table("collection", metadata, serial(), text("name", unique=True), text("kind"))
    sa.Table(
        "collection_chain", metadata, number("chain", key("collection"), primary_key=True),
        number("position", primary_key=True), number("member", key("collection")),
    )  # fmt: skip
    sa.Table("store", metadata, serial(), text("name", unique=True), text("uri"), text("kind"))
    sa.Table(
        "quantum", metadata, binary("id", 16, primary_key=True), number("run", key("collection"), index=True),
        text("task"), text("data_id"), text("job"), text("state"), text("code", nullable=True),
        binary("planned_recipe", 16), binary("actual_recipe", 16, nullable=True), text("attempt", nullable=True),
        text("sealer", nullable=True), text("version", nullable=True), text("receipt"),
    )  # fmt: skip
    sa.Table(
        "quantum_input", metadata, binary("quantum", 16, key("quantum"), primary_key=True),
        text("connection", primary_key=True), binary("input", 16, primary_key=True, index=True), text("state"),
        text("code", nullable=True), binary("sha256", 32, nullable=True), binary("planned_recipe", 16),
        binary("actual_recipe", 16, nullable=True),
    )  # fmt: skip
    sa.Table(
        "dataset", metadata, binary("id", 16, primary_key=True), number("type", key("dataset_type")),
        number("run", key("collection")), number("data_id"), binary("recipe", 16, nullable=True),
        binary("planned_recipe", 16, nullable=True), binary("quantum", 16, key("quantum"), nullable=True, index=True),
        number("sequence", unique=True), sa.UniqueConstraint("type", "run", "data_id"), sa.Index("dataset_recipe", "recipe"),
    )  # fmt: skip
    sa.Table(
        "artifact", metadata, binary("dataset", 16, key("dataset"), primary_key=True),
        number("store", key("store"), primary_key=True), text("path"), text("member"), number("size"),
        binary("sha256", 32), binary("content", 32), text("format"), sa.UniqueConstraint("store", "path", "member"),
    )  # fmt: skip
    sa.Table(
        "calibration", metadata, binary("dataset", 16, key("dataset"), primary_key=True),
        number("collection", key("collection"), primary_key=True), number("valid_begin", primary_key=True),
        number("valid_end"), number("known_begin", primary_key=True), number("known_end", nullable=True),
    )  # fmt: skip
    sa.Table(
        "metric", metadata, binary("dataset", 16, key("dataset"), primary_key=True),
        text("name", primary_key=True), sa.Column("value", sa.Double, nullable=False),
    )  # fmt: skip
    sa.Table(
        "footprint", metadata, text("instrument", primary_key=True), number("exposure", primary_key=True),
        number("detector", primary_key=True),
        *(sa.Column(f"{axis}{n}", sa.Double, nullable=False) for n in range(4) for axis in ("ra", "dec")), text("origin"),
    )  # fmt: skip
    sa.Table("skymap", metadata, text("name", primary_key=True), text("text"))
    sa.Table(
        "related", metadata, text("target", primary_key=True), text("instrument", primary_key=True),
        number("visit", primary_key=True), number("detector", primary_key=True), binary("digest", 16),
    )  # fmt: skip
    sa.Table("deleted", metadata, binary("id", 16, primary_key=True))
    sa.Table("tainted", metadata, binary("id", 16, primary_key=True), text("because"))
    sa.Table("frozen", metadata, number("collection", key("collection"), primary_key=True))
    sa.Table(
        "finding", metadata, text("kind", primary_key=True), text("key", primary_key=True), text("facts")
    )
    sa.Table("binding", metadata, number("run", key("collection"), primary_key=True), text("facts"))
    sa.Table(
        "run_parent", metadata, number("child", key("collection"), primary_key=True),
        number("parent", key("collection"), primary_key=True),
    )  # fmt: skip
