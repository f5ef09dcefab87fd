"""Every format there is, built in and from other packages: what it is called, and where its story stands."""

from __future__ import annotations

from dataclasses import fields

from prestow import plugins
from prestow.errors import PrestowError
from prestow.formats import Measuring, Story, Tabular, open_format
from prestow.model.frozen import frozen

STORY = tuple(field.name for field in fields(Story))
"""What every format carries in its story."""


@frozen
class Listed:
    """One format of the table; ``problem`` says why it cannot be opened, and then nothing else is known."""

    name: str
    module: str
    suffix: str = ""
    carrier: str = ""
    metrics: bool = False
    columns: bool = False
    problem: str = ""


def list_formats() -> tuple[Listed, ...]:
    """Give all formats, built in first; one that cannot be opened is told and hides no other.

    Examples
    --------
    >>> [(one.name, one.suffix, one.metrics) for one in list_formats()][:2]
    [('fits', '.fits', False), ('json', '.json', True)]
    """
    return tuple(_listed(name) for name in plugins.names("formats"))


def _listed(name: str) -> Listed:
    module = plugins.target("formats", name)
    try:
        found = open_format(name)
        carrier = str(getattr(found, "carrier", "in the file"))
        return Listed(
            name, module, found.suffix, carrier, isinstance(found, Measuring), isinstance(found, Tabular)
        )
    except (PrestowError, ImportError, AttributeError, TypeError) as error:  # a package of somebody else
        return Listed(name, module, problem=f"{type(error).__name__}: {error}")
