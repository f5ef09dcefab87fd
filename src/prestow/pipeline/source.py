"""One module of the workflow's code, read and never run."""

from __future__ import annotations

import ast
import re

from prestow.errors import Problem

_END = re.compile(r"\r\n|\r|\n")  # as Python counts lines; str.splitlines knows more ends


class Source:
    """One module of the workflow's code, parsed, and problems at its lines."""

    def __init__(self, place: str, data: bytes) -> None:
        self.place = place
        self.text = data.decode("utf-8")
        self.lines = tuple(_END.split(self.text))
        self.tree = ast.parse(self.text)

    def at(self, node: ast.AST) -> str:
        """Give ``file:line:column`` of a part of the tree."""
        line, column = self.mark(node)
        return f"{self.place}:{line}:{column}"

    def mark(self, node: ast.AST) -> tuple[int, int]:
        """Give line and column, both from 1, in characters."""
        line, begin = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        before = self.lines[line - 1].encode()[:begin] if line <= len(self.lines) else b""
        return line, len(before.decode(errors="replace")) + 1

    def problem(self, node: ast.AST, what: str, fix: str, code: str = "PST-C025") -> Problem:
        """Make a problem that points at a part of the tree."""
        line, column = self.mark(node)
        excerpt = f"{line:4d}| {self.lines[line - 1]}\n    | {' ' * (column - 1)}^"
        return Problem(code, what, self.at(node), fix, excerpt)

    def find(self, name: str) -> ast.stmt | None:
        """Give the last definition of a function or class at the top of the module."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return next((n for n in reversed(self.tree.body) if isinstance(n, kinds) and n.name == name), None)
