"""Files that an instrument's rules know and leave out: no raw frames, and rightly so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from prestow.documents import Document, Key, kind_of
from prestow.errors import Problem

SECTION = "leave_out"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Which files are left out, and why.

    Parameters
    ----------
    reason : str
        Told to whoever gives such a file.
    file_name : pattern, optional
        What the whole name must match.
    match : mapping of keyword to pattern
        What the primary header must say; a number is compared by its text.
    """

    reason: str
    file_name: re.Pattern[str] | None = None
    match: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    def applies(self, cards: Mapping[str, object], file_name: str) -> bool:
        """Say whether a file is one of these. Of a file without a header, give no cards.

        Examples
        --------
        >>> masks = LeftOut("a mask", re.compile("fpM-.*"), {"NPLANE": re.compile("[0-9]+")})
        >>> masks.applies({"NPLANE": 10}, "fpM-1.fit"), masks.applies({}, "fpM-1.fit")
        (True, False)
        """
        if self.file_name is not None and not self.file_name.fullmatch(file_name):
            return False
        return all(
            cards.get(keyword) is not None and pattern.fullmatch(str(cards[keyword]).strip())
            for keyword, pattern in self.match.items()
        )


def read_left_out(document: Document, value: object) -> tuple[tuple[LeftOut, ...], list[Problem]]:
    """Read the section of a document; give it, and all that is wrong with it."""
    if not isinstance(value, list):
        return (), [document.problem("PST-C011", (SECTION,), f"must be a list, not {kind_of(value)}")]
    rules: list[LeftOut] = []
    problems: list[Problem] = []
    for position, item in enumerate(value):
        at: Key = (SECTION, position)
        wrong = document.check_keys(at, item, required=("reason",), optional=("match", "file_name"))
        if isinstance(item, dict):
            wrong += _check(document, at, item)
        problems += wrong
        if not wrong:
            name = item.get("file_name")
            match = {str(k).upper(): re.compile(str(p)) for k, p in item.get("match", {}).items()}
            rules.append(LeftOut(item["reason"].strip(), None if name is None else re.compile(name), match))
    return tuple(rules), problems


def _check(document: Document, at: Key, item: Mapping[str, object]) -> list[Problem]:
    problems: list[Problem] = []
    reason, name, match = item.get("reason", "-"), item.get("file_name"), item.get("match", {})
    if not isinstance(reason, str) or not reason.strip():
        problems.append(document.problem("PST-C034", (*at, "reason"), "must be a text that says why"))
    if name is None and not match:
        problems.append(
            document.problem(
                "PST-C034", at, "leaves out every file", "say which: 'match' (the header), 'file_name', or both"
            )
        )  # fmt: skip
    patterns: list[tuple[Key, object]] = [] if name is None else [((*at, "file_name"), name)]
    if isinstance(match, dict):
        patterns += [((*at, "match", keyword), pattern) for keyword, pattern in match.items()]
    else:
        problems.append(
            document.problem("PST-C011", (*at, "match"), f"must be a mapping, not {kind_of(match)}")
        )
    for where, pattern in patterns:
        try:
            re.compile(pattern if isinstance(pattern, str) or where[-1] == "file_name" else str(pattern))  # type: ignore[call-overload]  # TypeError is caught
        except (re.error, TypeError) as error:
            problems.append(document.problem("PST-C013", where, f"not a regular expression: {error}"))
    return problems
