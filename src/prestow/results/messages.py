"""What of a failure's message says why, and not where: numbers, names, paths and values taken out.

In columns, by regular expressions without look-around, so that a hundred thousand messages take a
fraction of a second. The order matters: what is taken out first may hold what comes later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

LONGEST = 300
"""Characters of a normal message: what differs only after them is one."""

VALUES = 5000
"""Texts of data IDs that are looked for; of more, only the first in their order."""

_KINDS = (
    "fits|fit|fz|gz|json|jsonl|yaml|yml|parquet|png|jpg|csv|txt|log|py|so|db|tar|zip|h5|hdf5|npy|asdf|tmp"
)

_PLACE = r" \((?:[^\s()]+:[0-9]+)\)$"
"""Where it was raised, as the node writes it at the end of a message."""

_NAMES = (
    (r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", "<n>"),
    (r"\B'[^'\n]*'\B|\B\"[^\"\n]*\"\B|\B`[^`\n]*`\B", "<name>"),
    (r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"()<>,;]+", "<path>"),
    (r"(?:\B~|\B\.{1,2})?\B/[^\s'\"()<>,;:\[\]{}]+", "<path>"),
    (r"[\w.+@%-]+(?:/[\w.+=@%-]+){2,}/?|[\w.+@%-]+/[\w.+=@%-]*\.[a-zA-Z]\w*", "<path>"),
    (rf"[\w+@%-]+(?:\.[\w+@%-]+)*\.(?:{_KINDS})\b", "<path>"),
)

_NUMBERS = (
    (r"\b0[xX][0-9a-fA-F]+\b", "<n>"),
    (
        r"(?:\B[-+])?(?:\b[0-9][0-9_]*\.[0-9]*|\B\.[0-9]+|\b[0-9][0-9_]*[eE][-+])(?:(?:[eE][-+]?)?[0-9]+)?",
        "<n>",
    ),
    (r"\b(?:[0-9]+[a-fA-F]|[a-fA-F]+[0-9])[0-9a-fA-F]{6,}\b|\b[0-9a-fA-F]{16,}\b", "<n>"),
    (r"(?:\B[-+])?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "<n>"),
    (r"(?:\B[-+])?\b(?:nan|NaN|NAN|inf|Inf|infinity)\b", "<n>"),
    (r"\s+", " "),
    (r"<n>(?:[\s,;.]*<n>)*\.?", "<n>"),
    (r"<name>(?:[\s,;]+<name>)+", "<name>"),
    (r"<path>(?:[\s,;]+<path>)+", "<path>"),
)


def exception_of(code: pl.Expr, message: pl.Expr) -> pl.Expr:
    """Give the type of the exception that a message begins with; the code where it begins with none."""
    return message.str.extract(r"^([A-Za-z_][A-Za-z0-9_.]*)(?::(?: |$)| \(|$)", 1).fill_null(code)


def normal(message: pl.Expr, values: Iterable[str] = ()) -> pl.Expr:
    """Give messages without what differs from one data ID, host or day to the next.

    Parameters
    ----------
    message : expression
        Texts.
    values : iterable of str
        Texts of data IDs, such as the names of bands; numbers go anyway.

    Examples
    --------
    >>> frame = pl.DataFrame({"m": ["rms 3.2 > 1e-3 in /tmp/a/7.fits (tasks/sky.py:41)", "no key 'gain' in r"]})
    >>> frame.select(normal(pl.col("m"), ["r"]))["m"].to_list()
    ['rms <n> > <n> in <path>', 'no key <name> in <id>']
    """
    text = message.str.replace(_PLACE, "")
    for pattern, instead in _NAMES:
        text = text.str.replace_all(pattern, instead)
    words = sorted({v for v in values if re.search(r"[^\W\d_]", v)})[:VALUES]
    if words:
        longest_first = sorted(words, key=lambda word: (-len(word), word))
        text = text.str.replace_all(rf"\b(?:{'|'.join(map(_literal, longest_first))})\b", "<id>")
    for pattern, instead in _NUMBERS:
        text = text.str.replace_all(pattern, instead)
    return text.str.strip_chars().str.slice(0, LONGEST)


def place_of(message: pl.Expr) -> pl.Expr:
    """Give the file of the workflow in which a message says that it was raised, without the line."""
    return message.str.extract(r" \(([^\s()]+):[0-9]+\)$", 1)


def _literal(word: str) -> str:
    """Escape a word for the engine of Polars, which knows fewer escapes than Python's."""
    return re.sub(r"([\\.+*?()|\[\]{}^$#&~\-])", r"\\\1", word)
