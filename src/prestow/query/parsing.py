"""From the text of a selection to its meaning, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prestow.errors import ConfigurationError, Problem, raise_all
from prestow.model.universe import Universe, ValueType
from prestow.query.selection import Selection

_CODE = "PST-C027"


def parse_selection(
    text: str,
    universe: Universe,
    *,
    columns: Mapping[str, ValueType] | None = None,
    dimensions: Iterable[str] | None = None,
    place: str = "selection",
    known: str = "",
) -> Selection:
    """Parse a selection; an empty text chooses everything.

    Parameters
    ----------
    columns : mapping of name to type, optional
        Further columns that may be named.
    dimensions : iterable of str, optional
        If given, only these, what they require and imply, and their metadata may be named, and
        a name must mean one of them alone.
    place : str
        Where the text stands, for errors.
    known : str
        What to say of further columns where a name is unknown.

    Raises
    ------
    ConfigurationError
        PST-C027 with the column in the text: the first fault of grammar, and all names and types
        before it that do not fit.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> s = parse_selection("night == '2026-11-21' AND ccd in (7, 2..4)", load_universe())
    >>> s.canonical, s.columns
    ('day_obs = 20261121 and detector in (2..4, 7)', ('day_obs', 'detector'))
    """
    if not text.strip():
        return Selection()
    # The library that parses is loaded when there is something to parse.
    from prestow.query.meaning import Scope, understand
    from prestow.query.syntax import parse

    scope = Scope(
        universe,
        tuple(universe.dimensions) if dimensions is None else universe.expand(dimensions),
        dimensions is not None,
        columns or {},
        known,
    )
    tree, faults = understand(parse(text), scope)
    raise_all(
        Problem(_CODE, fault.what, f"{place}:{fault.at + 1}", fault.fix, _excerpt(text, fault.at))
        for fault in faults
    )
    return Selection(tree)


def _excerpt(text: str, at: int) -> str:
    return f"   1| {text}\n    | {' ' * at}^" if "\n" not in text else ""


def check_selection(text: str, universe: Universe, dimensions: Iterable[str]) -> tuple[Problem, ...]:
    """Give what is wrong with a selection on data of these dimensions."""
    try:
        parse_selection(text, universe, dimensions=dimensions)
    except ConfigurationError as error:
        return error.problems
    return ()
