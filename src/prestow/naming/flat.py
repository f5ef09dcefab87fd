"""Flat names in columns: the twins of `prestow.model.flat`."""

from __future__ import annotations

import polars as pl

from prestow.errors import PrestowError, raise_all
from prestow.model.flat import LONGEST, escaped, flat_name, flat_path, too_long

__all__ = ["LONGEST", "flat_name", "flat_names", "flat_path", "refuse_long"]

SHOWN = 5

_PLAIN = r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$"


def flat_names(paths: pl.Expr) -> pl.Expr:
    """Give the flat names of a column of paths, of whatever length; `refuse_long` looks at that.

    Examples
    --------
    >>> pl.DataFrame({"path": ["a/b", "a+b", None]}).select(flat_names(pl.col("path")))["path"].to_list()
    ['a+b', 'a~2Bb', None]
    """
    return paths.map_batches(_flat_column, return_dtype=pl.String, is_elementwise=True)


def refuse_long(names: pl.Series) -> None:
    """Refuse flat names that no file can have.

    Raises
    ------
    PrestowError
        PST-N070, with some of them.
    """
    long = names.filter(names.str.len_bytes() > LONGEST)
    raise_all([too_long(flat_path(name), name) for name in long.head(SHOWN)], PrestowError)


def _flat_column(paths: pl.Series) -> pl.Series:
    odd = ~paths.str.contains(_PLAIN)
    names = paths.str.replace_all("/", "+", literal=True)
    if not odd.any():
        return names
    where = odd.arg_true()
    # What has other characters is rare, and each of them is turned into octets by itself.
    return names.scatter(where, [escaped(path) for path in paths.gather(where)])
