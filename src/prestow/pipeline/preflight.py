"""A task's pre-flight hook, as its source says: whether it is there and takes one view. It is not run."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping

from prestow.pipeline.configuration import ENTRY, member_of
from prestow.pipeline.reader import Reader
from prestow.pipeline.reading import Section
from prestow.pipeline.source import Source


def check_hook(
    reader: Reader, section: Section, files: Mapping[str, bytes], places: Mapping[str, str]
) -> None:
    """Note what is wrong with the hook that a task names.

    Parameters
    ----------
    files, places : mapping
        Contents, and names for people, of the code's files by their names in the zip.
    """
    path, text = (*section.path, "preflight"), section.top.get("preflight")
    if isinstance(text, str):
        for what, fix in _wrong(text, files, places):
            reader.note("PST-C072", path, what, fix)


def _wrong(text: str, files: Mapping[str, bytes], places: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    match = ENTRY.fullmatch(text)
    if match is None:
        yield f"'{text}' is not a hook", "write module:function"
        return
    member = member_of(match[1], files)
    if member is None:
        yield f"there is no module '{match[1]}' in the code", "check the name and the files under 'code:'"
        return
    try:
        source = Source(places[member], files[member])
    except (SyntaxError, ValueError) as error:
        line, told = getattr(error, "lineno", None) or 1, getattr(error, "msg", error)
        yield f"{places[member]}:{line} is not valid Python: {told}", "correct the module"
        return
    node = source.find(match[2])
    if not isinstance(node, ast.FunctionDef):
        known = [n.name for n in source.tree.body if isinstance(n, ast.FunctionDef)]
        near = difflib.get_close_matches(match[2], known, 1)
        fix = (
            f"did you mean '{near[0]}'?"
            if near
            else f"write def {match[2]}(view: PreflightView) -> Preflight"
        )
        yield f"there is no function '{match[2]}' in {places[member]}", fix
    elif len([*node.args.posonlyargs, *node.args.args]) != 1:
        yield f"the hook at {source.at(node)} takes one view", f"write def {match[2]}(view: PreflightView)"
