"""A number of steps, as a person types it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    Kind = click.ParamType[int | None]
else:
    Kind = click.ParamType


class Depth(Kind):
    """A number of steps, or ``all``."""

    name = "depth"

    def convert(
        self, value: str | int | None, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Give the number; None for all."""
        if value is None or value == "all":
            return None
        try:
            number = int(value)
        except ValueError:
            number = -1
        if number < 0:
            self.fail(f"{value!r} is neither a number of steps nor 'all'", param, ctx)
        return number
