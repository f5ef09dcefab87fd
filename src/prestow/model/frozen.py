"""Frozen values that are cheap to define: for the papers that every node reads.

``@dataclass(frozen=True, slots=True)`` writes and compiles seven functions for each class; a node
pays for that a hundred thousand times, so here the functions are shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, NoReturn, TypeVar, dataclass_transform

_Class = TypeVar("_Class", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """Make a frozen dataclass with slots, at a seventh of the cost of defining one.

    It is a dataclass for `dataclasses.replace`, `dataclasses.fields` and pattern matching; there
    is no ``__post_init__``.

    Examples
    --------
    >>> @frozen
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1), Point(1) == Point(x=1, y=0)
    (Point(x=1, y=0), True)
    """
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    specification = fields(made)
    names = tuple(f.name for f in specification)
    setters = tuple(made.__dict__[name].__set__ for name in names)
    makers: tuple[Callable[[], Any] | None, ...] = tuple(
        _maker(f.default, f.default_factory) for f in specification
    )

    def __init__(self: object, *values: object, **named: object) -> None:  # noqa: N807
        given = len(values)
        if given > len(names):
            raise TypeError(f"{cls.__name__}() takes {len(names)} values, not {given}")
        for put, value in zip(setters, values, strict=False):
            put(self, value)
        for name, put, maker in zip(names[given:], setters[given:], makers[given:], strict=True):
            if name in named:
                put(self, named.pop(name))
            elif maker is not None:
                put(self, maker())
            else:
                raise TypeError(f"{cls.__name__}() lacks the value '{name}'")
        if named:
            raise TypeError(f"{cls.__name__}() has no (further) value '{next(iter(named))}'")

    def _values(self: object) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in names])

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(_values(self))

    def __repr__(self: object) -> str:  # noqa: N807
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{cls.__name__}({inside})"

    def __reduce__(self: object) -> tuple[type, tuple[object, ...]]:  # noqa: N807
        return type(self), _values(self)

    for method in (__init__, __eq__, __hash__, __repr__, __reduce__, _refuse_set, _refuse_delete):
        setattr(made, _NAMES.get(method.__name__, method.__name__), method)
    return made  # type: ignore[no-any-return]  # the class again, with slots


def _maker(default: object, factory: object) -> Callable[[], Any] | None:  # Any: whatever a field holds
    if factory is not MISSING:
        return factory  # type: ignore[return-value]  # a field's factory is callable
    return None if default is MISSING else lambda: default


def _refuse_set(self: object, name: str, value: object) -> NoReturn:  # noqa: ARG001 - Python's signature
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> NoReturn:  # noqa: ARG001
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_NAMES = {"_refuse_set": "__setattr__", "_refuse_delete": "__delattr__"}
