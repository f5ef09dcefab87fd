import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.model.hashing import canonical_json
from prestow.pipeline.configuration import Kind, WrongValueError, fit, plain, read_entry

HEAD = """from __future__ import annotations
import dataclasses
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, ClassVar, Literal, Optional
import not_installed_anywhere

LIMIT = 3
"""
RUN = "\ndef run(quantum, config: Config) -> None: ...\n"


def read(body, entry="tasks.a:run", head=HEAD):
    problems = []
    files = {"tasks/a.py": (head + body).encode()}
    found = read_entry(entry, files, {"tasks/a.py": "tasks/a.py"}, problems)
    return found, problems


def test_fields_types_and_literal_defaults_are_read_without_running_the_code():
    entry, problems = read(
        """
@dataclass
class Base:
    first: int = 1

@dataclasses.dataclass(frozen=True)
class Config(Base):
    sigma: float = 3
    minus: "float" = -1.5
    name: str | None = None
    other: Optional[int] = None
    mode: Literal["a", "b"] = "a"
    boxes: list[int] = field(default_factory=lambda: [1, -2])
    empty: list[str] = field(default_factory=list)
    table: dict[str, float] = field(default_factory=dict)
    pair: tuple[float, int] = (1, 2)
    many: tuple[str, ...] = ("x",)
    noted: Annotated[int, "of pixels"] = field(default=4)
    needed: bool
    shared: ClassVar[int] = 3
    _: KW_ONLY
    hidden: int = field(init=False, default=3)
    computed: int = LIMIT
"""
        + RUN
    )
    assert problems == []
    assert entry.config_class == "Config"
    assert {f.name: f.default for f in entry.fields if f.has_default} == {
        "first": 1, "sigma": 3.0, "minus": -1.5, "name": None, "other": None, "mode": "a", "boxes": [1, -2],
        "empty": [], "table": {}, "pair": [1.0, 2], "many": ["x"], "noted": 4,
    }  # fmt: skip
    without = {f.name: f.unreadable for f in entry.fields if not f.has_default}
    assert without == {"needed": "", "computed": "tasks/a.py:30:21"}


def test_a_function_of_one_parameter_has_no_configuration():
    entry, problems = read("def run(quantum): ...\n")
    assert (entry.fields, problems, entry.readable) == ((), [], True)


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ("@dataclass\nclass Config:\n    a: int = 'x'\n" + RUN, "PST-C011", "tasks/a.py:10:14"),
        ("@dataclass\nclass Config:\n    a: Path\n" + RUN, "PST-C025", "tasks/a.py:10:8"),
        ("class Config:\n    a: int = 1\n" + RUN, "PST-C025", "tasks/a.py:11:18"),
        ("def run(quantum, config): ...\n", "PST-C025", "tasks/a.py:8:18"),
        ("def run(): ...\n", "PST-C025", "tasks/a.py:8:1"),
        ("def run(:\n", "PST-C025", "tasks/a.py:8:9"),
        ("@dataclass\nclass Config(Other):\n    a: int = 1\n" + RUN, "PST-C025", "tasks/a.py:9:14"),
    ],
)
def test_what_cannot_be_read_is_named_in_the_source(body, code, where):
    _, problems = read(body)
    assert [(p.code, p.where) for p in problems] == [(code, where)]


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("tasks.a", "is not an entry"),
        ("tasks.b:run", "no module 'tasks.b' in the code; did you mean 'tasks.a'?"),
        ("os:system", "no module 'os' in the code"),
        ("tasks.a:rum", "no function 'rum' in tasks/a.py; did you mean 'run'?"),
    ],
)
def test_an_entry_that_is_not_there_is_named(entry, what):
    found, _ = read("def run(quantum): ...\n", entry)
    assert what in found


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind("float"), 3, 3.0),
        (Kind("float"), "1e-3", 0.001),
        (Kind("float"), -0.0, 0.0),
        (Kind("union", (Kind("float"), Kind("int"))), 3, 3),
        (Kind("union", (Kind("float"), Kind("None"))), 3, 3.0),
        (Kind("union", (Kind("list", (Kind("float"),)), Kind("None"))), (1,), [1.0]),
    ],
)
def test_equal_values_are_written_equally(kind, value, expected):
    assert canonical_json(fit(kind, value)) == canonical_json(expected)


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (Kind("int"), True, ()),
        (Kind("int"), 3.0, ()),
        (Kind("bool"), 1, ()),
        (Kind("str"), 3, ()),
        (Kind("float"), "x", ()),
        (Kind("float"), float("nan"), ()),
        (Kind("float"), True, ()),
        (Kind("literal", values=("a", 1)), True, ()),
        (Kind("list", (Kind("int"),)), [1, "x"], (1,)),
        (Kind("list", (Kind("int"),)), "ab", ()),
        (Kind("tuple", (Kind("int"),)), [1, 2], ()),
        (Kind("dict", (Kind("int"),)), {"a": 1, "b": None}, ("b",)),
        (Kind("dict"), {1: 2}, ()),
        (Kind("union", (Kind("None"), Kind("list", (Kind("int"),)))), ["x"], (0,)),
        (Kind("any"), {"a": [object()]}, ("a", 0)),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_where_it_stands(kind, value, path):
    with pytest.raises(WrongValueError) as caught:
        fit(kind, value)
    assert caught.value.path == path


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_plain_values_stay_as_they_are(value):
    assert plain(value) == value == fit(Kind("any"), value)
