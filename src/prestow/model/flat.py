r"""Flat names: a path as one name in one directory, and back again.

A ``/`` becomes ``+``; every octet that is not a letter or digit of ASCII, nor ``.``, ``_`` or ``-``, becomes ``~``
and two hexadecimal digits, capital. A name that would begin with anything but a letter, a digit or ``_`` gets `MARK`
before it. So a flat name needs no quoting in a shell, a URL, a list or a submit file, is no option and is not hidden.
Two paths have two flat names; and names that differ in case alone are those of paths that differ in case alone, so
where a tree survives a file system that folds case, so does a flat directory.
"""

from __future__ import annotations

import re

from prestow.errors import PrestowError, Problem

LONGEST = 255
"""How many octets a name of one file may have, on nearly all file systems."""

MARK = "_~+"
"""What stands before a name that would begin otherwise than names may; ``~+`` is nowhere else."""

_ODD = re.compile(rb"[^A-Za-z0-9._/-]")
_FIRST = re.compile(r"[A-Za-z0-9_]")
_ESCAPE = re.compile(rb"~([0-9A-F]{2})")


def flat_name(path: str) -> str:
    """Give the flat name of a path; `flat_path` gives the path back.

    Raises
    ------
    PrestowError
        PST-N070 if it has more than `LONGEST` octets.

    Examples
    --------
    >>> flat_name("raw/2026/a.fits"), flat_name("a b/c+d.fits"), flat_name(".hidden")
    ('raw+2026+a.fits', 'a~20b+c~2Bd.fits', '_~+.hidden')
    """
    name = escaped(path)
    if len(name) > LONGEST:
        raise PrestowError(too_long(path, name))
    return name


def flat_path(name: str) -> str:
    """Give the path of a flat name.

    Raises
    ------
    PrestowError
        PST-N072 if that is no flat name: one that `flat_name` would not give.

    Examples
    --------
    >>> flat_path("a~20b+c~2Bd.fits")
    'a b/c+d.fits'
    """
    octets = name.removeprefix(MARK).encode("utf-8", "surrogateescape").replace(b"+", b"/")
    try:
        path = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), octets).decode()
    except UnicodeDecodeError:
        path = ""
    if not path or escaped(path) != name:
        raise PrestowError(
            Problem("PST-N072", f"this is no flat name: {name!r}", name, "rename the file, or take it away")
        )
    return path


def flat_local(local: str) -> str:
    """Give the flat twin of a name in the local repository: ``inputs`` and ``outputs`` stay directories.

    Examples
    --------
    >>> flat_local("inputs/raw/2026/a.fits")
    'inputs/raw+2026+a.fits'
    """
    top, _, rest = local.partition("/")
    return f"{top}/{flat_name(rest)}"


def escaped(path: str) -> str:
    """Give the flat name of a path, of whatever length."""
    octets = _ODD.sub(lambda found: b"~%02X" % found[0][0], path.encode())
    name = octets.decode("ascii").replace("/", "+")
    return name if _FIRST.match(name) else MARK + name


def too_long(path: str, name: str) -> Problem:
    """Say that a flat name has too many octets (PST-N070)."""
    return Problem(
        "PST-N070",
        f"its flat name would have {len(name)} octets, and a file's has {LONGEST} at most: {name[:60]}…",
        path,
        "shorten the template, or use the layout tree or tar",
    )
