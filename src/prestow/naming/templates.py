"""Path templates: compiled once, refused where they cannot be read back, applied in columns.

Owns the rule for odd characters, and what is wrong with a path or with many paths together.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from prestow.errors import ConfigurationError, PlanRefusedError, Problem, raise_all
from prestow.model import DataId, Dataset
from prestow.model.hashing import Scalar
from prestow.model.universe import Universe

RUN_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
"""What a run or collection may be called: one component of a path."""

LONGEST_COMPONENT = 255  # bytes: what file systems allow
CROWDED = 10_000  # entries in one directory, from which on it is said
OVERCROWDED = 100_000  # entries in one directory, from which on it is refused

_ODD = r"[^A-Za-z0-9._+-]"
_TEXT_VALUE = r"(?:[A-Za-z0-9._+-]|%[0-9A-F]{2})+?"
_INTEGER_VALUE = r"-?[0-9]+"
_LITERAL = re.compile(r"[A-Za-z0-9._+/-]*")
_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"([a-z][a-z0-9_]*)(?::0([1-9][0-9]?)d)?")


def encode(value: str) -> str:
    """Give a text as it stands in a name: bytes outside ``[A-Za-z0-9._+-]`` become ``%XX``.

    Examples
    --------
    >>> encode("B 600/é"), decode(encode("B 600/é"))
    ('B%20600%2F%C3%A9', 'B 600/é')
    """
    return re.sub(_ODD, lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), value)


def decode(name: str) -> str:
    """Read what `encode` gave.

    Raises
    ------
    ValueError
        If no text is encoded so.
    """
    octets = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), name.encode())
    text = octets.decode()
    if encode(text) != name:
        raise ValueError(f"not an encoded text: {name!r}")
    return text


def encode_column(column: pl.Expr) -> pl.Expr:
    """Give a column of texts as they stand in names; twin of `encode`."""
    return column.map_batches(_encode_series, return_dtype=pl.String, is_elementwise=True)


def _encode_series(values: pl.Series) -> pl.Series:
    # One Python call for each distinct odd value: a handful, such as the names of filters.
    if isinstance(values.dtype, pl.Enum):
        known = _values(values)
        same = known == [encode(value) for value in known]
        values = values.cast(pl.String)
        if same:
            return values
    odd = values.filter(values.str.contains(_ODD)).unique().to_list()
    return values.replace(odd, [encode(value) for value in odd]) if odd else values


def _values(column: pl.Series) -> list[str]:
    """Give the texts that a column can have, or has."""
    if isinstance(column.dtype, pl.Enum):
        return column.dtype.categories.to_list()
    return column.drop_nulls().unique().to_list()


@dataclass(frozen=True, slots=True)
class Field:
    """A placeholder of a template: ``{name}``, or ``{name:06d}`` with that width."""

    name: str
    integer: bool
    width: int = 0

    def render(self, value: object) -> str:
        """Give a value as it stands in a name."""
        return f"{value:0{self.width}d}" if isinstance(value, int) else encode(str(value))

    def column(self) -> pl.Expr:
        """Give the column of that name as it stands in names; twin of `render`."""
        if not self.integer:
            return encode_column(pl.col(self.name))
        return pl.col(self.name).cast(pl.String).str.zfill(self.width)

    @property
    def pattern(self) -> str:
        """What a value looks like in a name."""
        if self.name == "run":
            return f"{RUN_NAME}?"
        return _INTEGER_VALUE if self.integer else _TEXT_VALUE


@dataclass(frozen=True)
class Template:
    """A rule that gives each dataset of one type its path, and reads it back.

    ``required`` are the dimensions that tell datasets apart; ``parts`` are literal texts and
    fields (``{type}`` is literal here).
    """

    dataset_type: str
    text: str
    required: tuple[str, ...]
    parts: tuple[str | Field, ...]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """All fields but the literal texts, in their order, ``run`` too."""
        return tuple(part for part in self.parts if isinstance(part, Field))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The dimensions whose columns it asks for, sorted; implied ones too."""
        return tuple(sorted({field.name for field in self.fields} - {"run"}))

    @cached_property
    def pattern(self) -> str:
        """The regular expression that reads a path back, in the words of Python and Rust."""
        return _pattern(self.parts)

    def path(self, run: str, values: Mapping[str, Scalar]) -> str:
        """Give the path of one dataset.

        Raises
        ------
        PlanRefusedError
            If no rule can encode it (PST-P003): a missing value, a component ``..``, a leading
            ``-``, more than 255 bytes.
        """
        known: dict[str, object] = {**values, "run": run}
        missing = [field.name for field in self.fields if known.get(field.name) is None]
        name = (
            ""
            if missing
            else "".join(
                part.render(known[part.name]) if isinstance(part, Field) else part for part in self.parts
            )
        )
        reason = f"no value for {missing[0]}" if missing else wrong_with(name)
        if not re.fullmatch(RUN_NAME, run):
            reason = f"'{run}' cannot be the name of a run"
        if reason:
            where = f"{self.dataset_type}{{{DataId(values)}}}"
            fix = f"change the value, or the template '{self.text}'"
            raise PlanRefusedError(Problem("PST-P003", f"cannot name the file: {reason}", where, fix))
        return name

    def column(self, run: str | pl.Expr) -> pl.Expr:
        """Give paths from one column for each field; null where a value is. Twin of `path`.

        What `path` would refuse is left to `bad_names`.
        """
        parts = [pl.lit(part) if isinstance(part, str) else _shown(part, run) for part in self.parts]
        return pl.concat_str(parts or [pl.lit("")]).alias("path")

    @cached_property
    def directory(self) -> Template:
        """The template of what stands above the last ``/``: it has no dimension that must be told apart."""
        *above, _ = self._components()
        parts: list[str | Field] = []
        for component in above:
            parts += ["/", *component] if parts else component
        return Template(self.dataset_type, self.text.rpartition("/")[0], (), tuple(parts))

    def surely_names(self, frame: pl.DataFrame, run: str) -> bool:
        """Say whether every row surely gets a good name that reads back, by what its fields can hold.

        If not, it is time to look row by row: `bad_names`, `reads_back`.
        """
        if any(frame[name].null_count() for name in self.columns):
            return False
        texts = {
            f.name: [run] if f.name == "run" else _values(frame[f.name]) for f in self.fields if not f.integer
        }
        held = {name: [encode(value) for value in values] for name, values in texts.items()}
        bounds = {
            name: (frame[name].min() or 0, frame[name].max() or 0)
            for name in self.columns
            if name not in texts
        }
        return all(_surely(component, held, bounds) for component in self._components())

    def paths(self, frame: pl.DataFrame, run: str | pl.Expr) -> pl.Series:
        """Give the path of each row."""
        return frame.with_columns(self.column(run))["path"]

    def reads_back(self, run: str | pl.Expr) -> pl.Expr:
        """Say for each row whether its path gives its values again.

        Where two texts stand in one component, as in ``{instrument}-{band}``, this depends on the
        values: ``a-b`` and ``c`` would read as ``a`` and ``b-c``.
        """
        known = pl.all_horizontal(pl.lit(value=True), *(_shown(f, run).is_not_null() for f in self.fields))
        doubtful = [parts for parts in self._components() if _doubtful(parts)]
        return pl.all_horizontal(known, *(_component_reads_back(parts, run) for parts in doubtful)).alias(
            "reads_back"
        )

    def _components(self) -> list[list[str | Field]]:
        """Cut the parts at each ``/``; no value holds one, so each component is read by itself."""
        components: list[list[str | Field]] = [[]]
        for part in self.parts:
            if isinstance(part, Field):
                components[-1].append(part)
                continue
            head, *others = part.split("/")
            components[-1] += [head] if head else []
            components += [[other] if other else [] for other in others]
        return components

    def parse(self, path: str) -> tuple[str, dict[str, Scalar]] | None:
        """Give run and values of a path that this template gave, else None.

        Examples
        --------
        >>> u = Universe("toy", 1, {}, {})
        >>> compile_template("{run}/schema.json", (), u, dataset_type="schema").parse("demo/schema.json")
        ('demo', {})
        """
        match = re.fullmatch(self.pattern, path)
        if match is None:
            return None
        found: dict[str, Scalar] = {}
        try:
            for field, text in zip(self.fields, match.groups(), strict=True):
                found.setdefault(field.name, int(text) if field.integer else decode(text))
            run = str(found.pop("run", ""))
            # equal again, or it is another spelling: '7' where '07' is the name
            return (run, found) if self.path(run or "x", found) == path else None
        except (ValueError, PlanRefusedError):
            return None


def _pattern(parts: Iterable[str | Field]) -> str:
    return "".join(f"({part.pattern})" if isinstance(part, Field) else re.escape(part) for part in parts)


def _shown(field: Field, run: str | pl.Expr) -> pl.Expr:
    """Give the column of a field as it stands in names."""
    if field.name != "run":
        return field.column()
    return pl.lit(run) if isinstance(run, str) else run


def _doubtful(parts: list[str | Field]) -> bool:
    """Say whether a component holds a text beside another field: where it ends depends on its value."""
    fields = [part for part in parts if isinstance(part, Field)]
    return len(fields) > 1 and not all(field.integer for field in fields)


def _surely(
    parts: list[str | Field],
    texts: Mapping[str, list[str]],
    bounds: Mapping[str, tuple[Any, Any]],  # Any: integers
) -> bool:
    """Say whether a component is surely a good name and reads back, by what its fields can hold."""
    longest, begins, solid = 0, True, False
    for i, part in enumerate(parts):
        following = parts[i + 1] if i + 1 < len(parts) else "/"
        if isinstance(part, str):
            longest += len(part)
            solid = solid or part.strip(".") != ""
        elif part.integer:
            longest += max(part.width, *(len(str(bound)) for bound in bounds[part.name]))
            begins = begins and (i > 0 or bounds[part.name][0] >= 0)
            solid = True
        else:
            values = texts[part.name]
            longest += max(map(len, values), default=0)
            begins = begins and not (i == 0 and any(v[:1] in ("", "-") for v in values))
            solid = solid or all(v.strip(".") for v in values)
            if any(not v or str(following)[0] in v for v in values):
                return False
    return begins and solid and longest <= LONGEST_COMPONENT


def _component_reads_back(parts: list[str | Field], run: str | pl.Expr) -> pl.Expr:
    fields = [part for part in parts if isinstance(part, Field)]
    values = pl.struct(_shown(field, run).alias(str(i)) for i, field in enumerate(fields))
    # The first mark after a text ends it, unless the text holds that mark itself.
    ends = {
        str(fields.index(part)): str(following)[0]
        for part, following in itertools.pairwise(parts)
        if isinstance(part, Field) and not part.integer
    }
    names = iter(range(len(fields)))
    whole = [pl.lit(part) if isinstance(part, str) else pl.col(str(next(names))) for part in parts]

    def check(series: pl.Series) -> pl.Series:
        frame = series.struct.unnest()
        holds = [pl.col(name).str.contains(end, literal=True) for name, end in ends.items()]
        risky = frame.select(
            pl.any_horizontal(pl.lit(value=False), *holds).fill_null(value=False)
        ).to_series()
        if not risky.any():
            return pl.repeat(value=True, n=frame.height, dtype=pl.Boolean, eager=True)
        groups = pl.concat_str(whole).str.extract_groups(f"^{_pattern(parts)}$")
        equal = [groups.struct.field(str(i + 1)) == pl.col(str(i)) for i in range(len(fields))]
        read = frame.filter(risky).select(pl.all_horizontal(equal).fill_null(value=False)).to_series()
        return (~risky).scatter(risky.arg_true(), read)

    return values.map_batches(check, return_dtype=pl.Boolean, is_elementwise=True)


def wrong_with(path: str) -> str | None:
    """Say why a path cannot be the name of a file, or None; twin of `bad_names`."""
    for component in path.split("/"):
        if component in ("", ".", ".."):
            return f"'{component}' cannot be part of a name"
        if component.startswith("-"):
            return f"'{component}' begins with '-'"
        if len(component) > LONGEST_COMPONENT:
            return f"'{component[:20]}…' has {len(component)} bytes, {LONGEST_COMPONENT} are allowed"
    return None


def compile_template(
    text: str,
    dimensions: Iterable[str],
    universe: Universe,
    *,
    dataset_type: str,
    run_field: bool = True,
) -> Template:
    """Compile a path template, or raise with everything that is wrong with it.

    Parameters
    ----------
    text : str
        Literal text and ``{field}`` or ``{field:06d}``: required dimensions (each must be there),
        implied ones, ``run``, ``type``.
    dimensions : iterable of str
        Required dimensions, closed.
    run_field : bool
        Whether ``{run}`` must be there.

    Raises
    ------
    ConfigurationError
        PST-C030. Where a dimension is missing it names two datasets that would share a path.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> t = compile_template(
    ...     "{run}/bias/{instrument}-{detector:02d}.fits",
    ...     ["detector", "instrument"], load_universe(), dataset_type="bias",
    ... )
    >>> t.path("demo", {"instrument": "sim", "detector": 3})
    'demo/bias/sim-03.fits'
    >>> t.parse("demo/bias/sim-03.fits")
    ('demo', {'instrument': 'sim', 'detector': 3})
    """
    required = tuple(sorted(dimensions))
    allowed = {name: universe.dimensions[name].type == "int" for name in universe.expand(required)}
    complaints: list[tuple[str, str]] = []  # what is wrong, what to do
    parts = _split(text, allowed, universe, dataset_type, complaints)
    hollow = (
        "''" if complaints and "//" not in text else None
    )  # where an unknown field was nothing is left: it is told already
    complaints += [one for one in _wrong_literals(text, parts) if one[0].split(" ")[0] != hollow]
    complaints += _unreadable(parts)
    names = {part.name for part in parts if isinstance(part, Field)}
    if run_field and "run" not in names:
        what = "it has no {run}: every run would write the same names"
        complaints.append((what, f"write '{{run}}/{text}'"))
    template = Template(dataset_type, text, required, tuple(parts))
    open_brace = any(isinstance(part, str) and "{" in part for part in parts)
    if open_brace:  # a field that is not closed is not missing
        required = ()
    complaints += [_collision(template, name, universe) for name in required if name not in names]
    where = f"template of {dataset_type}"
    raise_all(
        (Problem("PST-C030", f"'{text}': {what}", where, fix) for what, fix in complaints), ConfigurationError
    )
    return template


def default_template(dataset_type: str, dimensions: Iterable[str], suffix: str) -> str:
    """Give the template of a dataset type that has none.

    Examples
    --------
    >>> default_template("isr", ["instrument", "detector", "visit"], ".fits")
    '{run}/isr/isr-{detector}-{instrument}-{visit}.fits'
    """
    return f"{{run}}/{dataset_type}/{dataset_type}{''.join(f'-{{{d}}}' for d in sorted(dimensions))}{suffix}"


def _split(
    text: str,
    allowed: Mapping[str, bool],
    universe: Universe,
    dataset_type: str,
    complaints: list[tuple[str, str]],
) -> list[str | Field]:
    """Cut a template into literal texts, of which no two are neighbours, and fields."""
    parts: list[str | Field] = []
    literal = ""
    for i, piece in enumerate(_FIELD.split(text)):
        if i % 2 == 0:
            literal += piece
            continue
        match = _NAME.fullmatch(piece)
        if match is None:
            complaints.append((f"{{{piece}}} is not a field", "write {name}, or {name:06d} for an integer"))
            continue
        name, width = match[1], int(match[2] or 0)
        if name == "type" and not width:
            literal += dataset_type
        elif name != "run" and name not in allowed:
            known = universe.canonical(name)
            if known in allowed:
                fix = f"write {{{known}}}"
            elif known is not None:
                fix = f"{dataset_type} does not have this dimension"
            else:
                fix = f"fields here: run, type, {', '.join(sorted(allowed))}"
            complaints.append((f"unknown field {{{name}}}", fix))
        elif width and not allowed.get(name, False):
            complaints.append((f"{{{piece}}} is text, and has no digits", f"write {{{name}}}"))
        else:
            parts += [literal, Field(name, allowed.get(name, False), width)]
            literal = ""
    return [part for part in [*parts, literal] if part != ""]


def _wrong_literals(text: str, parts: list[str | Field]) -> list[tuple[str, str]]:
    """Find literal text that no path may hold, and components that no value can mend."""
    complaints: list[tuple[str, str]] = []
    for part in parts:
        if isinstance(part, str) and (bad := _LITERAL.match(part)) and bad.end() < len(part):
            what = f"{part[bad.end()]!r} is not allowed in a name"
            complaints.append((what, "use letters, digits and . _ + - /"))
    if text.startswith("/"):
        return [*complaints, ("it is absolute", "names are relative to the store: leave out the first '/'")]
    shape = "".join("{}" if isinstance(part, Field) else part for part in parts)
    for component in shape.split("/"):
        if component in ("", ".", ".."):
            complaints.append((f"'{component}' cannot be part of a name", "name each directory"))
        elif component.startswith("-"):
            complaints.append((f"'{component}' begins with '-'", "let a letter stand first"))
    if shape.startswith("_"):
        complaints.append(("names that begin with '_' are the store's own", "let it begin with {run}"))
    return complaints


def _unreadable(parts: list[str | Field]) -> list[tuple[str, str]]:
    """Find fields whose end cannot be told from what follows."""
    complaints = []
    for part, following in itertools.pairwise(parts):
        if isinstance(part, Field) and isinstance(following, Field):
            what = f"{{{part.name}}}{{{following.name}}} cannot be read back: nothing stands between them"
            complaints.append((what, f"write {{{part.name}}}-{{{following.name}}}"))
        elif isinstance(part, Field) and part.integer and str(following)[0].isdigit():
            what = f"{{{part.name}}}{str(following)[0]} cannot be read back: a digit follows an integer"
            complaints.append((what, f"write {{{part.name}}}-{following}"))
    return complaints


def _collision(template: Template, missing: str, universe: Universe) -> tuple[str, str]:
    """Say which two datasets would share a name without a dimension."""

    def sample(name: str, which: int) -> Scalar:
        return which if universe.dimensions[name].type == "int" else "ab"[which]

    first, second = (
        Dataset(
            template.dataset_type,
            DataId({name: sample(name, which if name == missing else 0) for name in template.required}),
            "demo",
        )
        for which in (0, 1)
    )
    what = f"{first} and {second} would have one name: {{{missing}}} is missing"
    head, dot, suffix = template.text.rpartition(".")
    stem = head if dot and "/" not in suffix and "}" not in suffix else template.text
    mended = f"{stem}-{{{missing}}}{template.text[len(stem) :]}"
    return what, f"add {{{missing}}}, for example '{mended}'"


def bad_names(paths: pl.Series) -> pl.DataFrame:
    """Give ``row``, ``path`` and ``reason`` of paths that cannot be names of files."""
    path = pl.col("path")
    component = r"(?:^|/)"
    reason = (
        pl.when(path.is_null())
        .then(pl.lit("a value that its template asks for is missing"))
        .when(path.str.contains(rf"{component}\.{{0,2}}(?:/|$)"))
        .then(pl.lit("a component is empty, '.' or '..'"))
        .when(path.str.contains(rf"{component}-"))
        .then(pl.lit("a component begins with '-'"))
        .when(
            (path.str.len_bytes() > LONGEST_COMPONENT)
            & (path.str.split("/").list.eval(pl.element().str.len_bytes()).list.max() > LONGEST_COMPONENT)
        )
        .then(pl.lit(f"a component has more than {LONGEST_COMPONENT} bytes"))
    )
    frame = paths.alias("path").to_frame().with_row_index("row")
    return frame.lazy().with_columns(reason.alias("reason")).filter(pl.col("reason").is_not_null()).collect()


def twins(paths: pl.Series) -> pl.DataFrame:
    """Give ``row``, ``path`` and ``folded`` of paths that are equal, or equal but for case.

    Sorted by the folded path and row, so that twins stand together. Paths are ASCII, so lower case is
    all there is to folding.
    """
    frame = paths.alias("path").to_frame().with_row_index("row")
    folded = frame.with_columns(pl.col("path").str.to_lowercase().alias("folded")).drop_nulls()
    return folded.filter(pl.col("folded").is_duplicated()).sort("folded", "row")
