"""Texts of rows, where a text may also be one for all of them."""

from __future__ import annotations

import polars as pl


def texts_of(frame: pl.DataFrame, text: pl.Expr) -> pl.Series:
    """Give one text for each row, also where the expression names no column."""
    if not text.meta.root_names():
        return pl.select(text).to_series().new_from_index(0, frame.height)
    return frame.select(text).to_series()
