"""A task declared beside its code: the values of ``@task(…)``, read without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from prestow.documents import Document, Key
from prestow.errors import Problem
from prestow.pipeline.source import Source

KEYS = (
    "dimensions", "inputs", "outputs", "where", "on_failure", "tries", "ignore", "prototypes", "resources", "hints",
    "preflight",
)  # fmt: skip
"""What a decorator may say: the keys of a task's section that do not depend on a campaign."""

_ELSEWHERE = {
    "config": "give the fields of the configuration's dataclass defaults",
    "run": "leave it out: the decorator stands above the function",
    "command": "a command stands in the pipeline's file",
    "name": "the label stands in the pipeline's file",
}
_LITERAL = "write the value itself: the decorator is read, and the module is not run"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a decorator says, with the place of every value; not ``whole``: some of it is no literal."""

    document: Document
    whole: bool = True

    @property
    def values(self) -> dict[str, object]:
        """The values by key."""
        data = self.document.data
        return dict(data) if isinstance(data, dict) else {}


def read_decorator(
    source: Source, function: ast.FunctionDef, path: Key, problems: list[Problem]
) -> Declaration | None:
    """Give what ``@task`` above a function says, or None if there is none.

    Only `prestow.tasks.task` counts, under whatever name the module imports it.

    Parameters
    ----------
    path : tuple
        What the marks begin with.
    problems : list
        What is wrong is added here, at its place in the module.
    """
    names = _names(source.tree)
    found = [d for d in function.decorator_list if _dotted(d) in names]
    for node in function.decorator_list:
        if _dotted(node) == "task" and "task" not in names and not _bound(source.tree, "task"):
            fix = "write: from prestow.tasks import task"
            problems.append(source.problem(node, "'task' is not imported", fix, "PST-C032"))
            found.append(node)
    if not found:
        return None
    reading = _Reading(source, problems)
    for node in found[1:]:
        reading.note(node, "a function has one decorator 'task'", "leave one of them out")
    return reading.declaration(found[0], path)


class _Reading:
    """One decorator: its values, where they stand, and whether all of them could be read."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.marks: dict[Key, tuple[int, int]] = {}
        self.key_marks: dict[Key, tuple[int, int]] = {}
        self.whole = True

    def note(self, node: ast.AST, what: str, fix: str, code: str = "PST-C032") -> None:
        self.whole = False
        self.problems.append(self.source.problem(node, what, fix, code))

    def declaration(self, node: ast.expr, path: Key) -> Declaration:
        self.marks[path] = self.source.mark(node)
        data: dict[str, object] = {}
        if not isinstance(node, ast.Call):
            self.note(node, "the decorator says nothing", "write @task(dimensions=[…], outputs={…})")
        else:
            for argument in node.args:
                self.note(argument, "the values of @task have names", "write @task(dimensions=[…], …)")
            for keyword in node.keywords:
                if keyword.arg is None:
                    self.note(keyword, f"not a literal: **{ast.unparse(keyword.value)}", _LITERAL)
                elif keyword.arg in _ELSEWHERE:
                    self.key_marks[(*path, keyword.arg)] = self.source.mark(keyword)
                    what = f"@task takes no '{keyword.arg}'"
                    self.note(keyword, what, _ELSEWHERE[keyword.arg], "PST-C010")
                else:
                    self.key_marks[(*path, keyword.arg)] = self.source.mark(keyword)
                    known = len(self.problems)
                    value = self.value(keyword.value, (*path, keyword.arg))
                    if len(self.problems) == known:
                        data[keyword.arg] = value
        document = Document(self.source.place, data, self.marks, self.key_marks, self.source.lines)
        wrong = document.check_keys(path, data, optional=KEYS)
        self.problems += wrong
        good = {k: v for k, v in data.items() if k in KEYS}
        return Declaration(replace(document, data=good), self.whole and not wrong)

    def value(self, node: ast.expr, path: Key) -> object:
        """Give a literal as YAML would hold it: a tuple is a list."""
        self.marks[path] = self.source.mark(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = node.operand.value if isinstance(node.operand, ast.Constant) else None
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.elts)]
        if isinstance(node, ast.Dict):
            return dict(self.items(node, path))
        self.note(node, f"not a literal: {ast.unparse(node)}", _LITERAL)
        return None

    def items(self, node: ast.Dict, path: Key) -> Iterator[tuple[str, object]]:
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                text = f"**{ast.unparse(value)}" if key is None else ast.unparse(key)
                what = f"a key must be text, not {text}"
                self.note(value if key is None else key, what, _LITERAL)
                continue
            here = (*path, key.value)
            if here in self.key_marks:
                self.note(key, f"key '{key.value}' stands twice", "leave one of them out", "PST-C003")
            self.key_marks[here] = self.source.mark(key)
            yield key.value, self.value(value, here)


def _names(tree: ast.Module) -> set[str]:
    """Give the names under which a module knows `prestow.tasks.task`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                if node.module == "prestow.tasks" and alias.name in ("task", "*"):
                    found.add(alias.asname or "task")
                if node.module == "prestow" and alias.name == "tasks":
                    found.add(f"{alias.asname or 'tasks'}.task")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "prestow.tasks":
                    found.add(f"{alias.asname or alias.name}.task")
    return found


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def _bound(tree: ast.Module, name: str) -> bool:
    """Say whether a module gives a name a meaning of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if any((a.asname or a.name).partition(".")[0] in (name, "*") for a in node.names):
                return True
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name == name:
                return True
        elif isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            return True
    return False
