"""A disk that forgets, for tests: what was not synced is gone after a power cut; and processes that die at one act.

`Disk` watches what a module does to a real directory, by standing where its ``os`` stands, and knows what a power
cut would leave. There is no one answer to that, so it keeps three, the worst of their kinds (`KINDS`).
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import stat
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

LEAST: Final = "least"
"""After a power cut: nothing but what was synced."""

GONE: Final = "gone"
"""The same, but names that were removed are gone, synced or not; the old name of a rename, once its new one is there."""

EARLY: Final = "early"
"""All names are there as they last were, but only bytes that were synced."""

KINDS: Final = (LEAST, GONE, EARLY)

CHANGES: Final = ("link", "rename", "unlink", "mkdir", "rmdir", "fsync", "open", "write", "fchmod", "chmod")
"""What of ``os`` is an act at which a process can die, or the disk fail."""


class Dead(BaseException):
    """The process was killed; whatever it does to the disk afterwards, in the way of tidying up, is not done."""


class Disk:
    """The directory at a path, and what would be left of it after a power cut; a context.

    As file systems with a journal do, it keeps a rename whole, and removes no directory before what was moved out
    of it is at its new name.

    Parameters
    ----------
    root : path
        A directory; all that is in it now is durable.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     os.mkdir(f"{directory}/disk")
    ...     with Disk(f"{directory}/disk") as disk:
    ...         system = disk.process()
    ...         for name in "ab":
    ...             handle = system.open(f"{disk.root}/{name}", os.O_WRONLY | os.O_CREAT)
    ...             _ = system.write(handle, b"bytes")
    ...             if name == "a":
    ...                 system.fsync(handle)
    ...             os.close(handle)
    ...         synced = system.open(disk.root, os.O_RDONLY)
    ...         system.fsync(synced)
    ...         os.close(synced)
    ...         os.rename(f"{disk.root}/a", f"{disk.root}/c")
    ...         left = disk.after_power_cut(LEAST, f"{directory}/left")
    ...     {path.name: path.read_bytes() for path in sorted(left.iterdir())}
    {'a': b'bytes', 'b': b''}
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.realpath(root)
        self._bytes: dict[int, bytes] = {}
        self._names: dict[str, dict[int, dict[str, int]]] = {kind: {} for kind in KINDS}
        self._moved: list[_Moved] = []
        self._held: dict[int, int] = {}  # so that the number of what was deleted is not given again
        for directory, _, names in os.walk(self.root):
            self._sync_names(os.stat(directory).st_ino, directory)
            for name in names:
                path = f"{directory}/{name}"
                self._bytes[os.stat(path).st_ino] = Path(path).read_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._held.values():
            os.close(handle)
        self._held.clear()

    def process(self) -> System:
        """Give a new process: what is to stand for ``os`` in its modules."""
        return System(self)

    def after_power_cut(self, kind: str, target: str | os.PathLike[str]) -> Path:
        """Make a directory that holds what a power cut at this moment would leave."""
        names = self._names[kind]
        if kind == GONE:
            names = self._without_moved({number: dict(listed) for number, listed in names.items()})
        first: dict[int, str] = {}

        def make(number: int, path: str) -> None:
            os.mkdir(path)
            for name, inner in names.get(number, {}).items():
                if stat.S_ISDIR(os.stat(self._held[inner]).st_mode):
                    make(inner, f"{path}/{name}")
                elif inner in first:
                    os.link(first[inner], f"{path}/{name}")
                else:
                    first[inner] = f"{path}/{name}"
                    Path(first[inner]).write_bytes(self._bytes.get(inner, b""))
                    os.chmod(first[inner], 0o444)

        make(os.stat(self.root).st_ino, os.fspath(target))
        return Path(target)

    # -- told by processes ----------------------------------------------------------------------

    def synced(self, handle: int) -> None:
        """Hear that a file, or a directory, was synced."""
        status = os.fstat(handle)
        path = f"/proc/self/fd/{handle}"
        if not self._is_here(os.readlink(path)):
            return
        self._hold(status.st_ino, path)
        if stat.S_ISDIR(status.st_mode):
            self._sync_names(status.st_ino, path)
        else:
            self._bytes[status.st_ino] = Path(path).read_bytes()

    def changing(self, act: str, old: str, new: str) -> Callable[[], None]:
        """Hear what is about to be done to names; give what is to be called once it is done."""
        path = new or old
        if not self._is_here(path):
            return lambda: None
        parent = self._number(os.path.dirname(path))
        before = self._number(path if act in ("unlink", "rmdir") else old)
        origin = self._number(os.path.dirname(old)) if act == "rename" else None

        def done() -> None:
            for directory in {os.path.dirname(path), os.path.dirname(old)}:
                if self._is_here(directory) and (number := self._number(directory)) is not None:
                    self._hold(number, directory)
                    self._names[EARLY][number] = self._listed(directory)
            if before is None or parent is None:
                return
            if act == "rename" and origin is not None:
                self._moved.append(_Moved(origin, os.path.basename(old), before, self._way_to(path)))
            elif act in ("unlink", "rmdir") and not self._names[GONE].get(before):
                _take(self._names[GONE], parent, os.path.basename(path), before)

        return done

    def _is_here(self, path: str) -> bool:
        return path == self.root or path.startswith(f"{self.root}/")

    def _number(self, path: str) -> int | None:
        try:
            return os.stat(path, follow_symlinks=False).st_ino
        except OSError:
            return None

    def _hold(self, number: int, path: str) -> None:
        if number not in self._held:
            self._held[number] = os.open(path, os.O_PATH)

    def _listed(self, path: str) -> dict[str, int]:
        with os.scandir(path) as found:
            listed = {entry.name: entry.inode() for entry in found}
        for name, number in listed.items():
            self._hold(number, f"{path}/{name}")
        return listed

    def _sync_names(self, number: int, path: str) -> None:
        listed = self._listed(path)
        self._hold(number, path)
        for kind in KINDS:
            names = self._names[kind]
            removed = _below(names, set(names.get(number, {}).values()) - set(listed.values()))
            for moved in self._moved:
                if moved.origin in removed:
                    for directory, name, inner in moved.way:
                        names.setdefault(directory, {})[name] = inner
            names[number] = dict(listed)

    def _way_to(self, path: str) -> tuple[tuple[int, str, int], ...]:
        """Give directory, name and what has it, for each part of a path from the root on."""
        way, here = [], self.root
        for name in path[len(self.root) + 1 :].split("/"):
            way.append((os.stat(here).st_ino, name, os.stat(f"{here}/{name}", follow_symlinks=False).st_ino))
            here = f"{here}/{name}"
        return tuple(way)

    def _without_moved(self, names: dict[int, dict[str, int]]) -> dict[int, dict[str, int]]:
        there = _below(names, {os.stat(self.root).st_ino})
        for moved in self._moved:
            target = moved.way[-1][0]
            if target in there and moved.number in names.get(target, {}).values():
                _take(names, moved.origin, moved.name, moved.number)
        return names


class _Moved(NamedTuple):
    """A rename: from which directory, of what name, what, and all that leads to it now."""

    origin: int
    name: str
    number: int
    way: tuple[tuple[int, str, int], ...]


def _below(names: Mapping[int, Mapping[str, int]], tops: set[int]) -> set[int]:
    there, waiting = set[int](), list(tops)
    while waiting:
        there.add(number := waiting.pop())
        waiting += [inner for inner in names.get(number, {}).values() if inner not in there]
    return there


def _take(names: dict[int, dict[str, int]], directory: int, name: str, number: int) -> None:
    listed = names.get(directory, {})
    if listed.get(name) == number:
        del listed[name]


class System:
    """What stands for ``os`` in the modules of one process on a `Disk`.

    Parameters
    ----------
    disk : Disk
        Which hears all that is done.

    Attributes
    ----------
    acts : int
        How many there were.
    at : int or None
        Before which act something happens.
    what : exception
        What is raised then, once; `Dead` for ever.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.acts = 0
        self.at: int | None = None
        self.what: BaseException | Callable[[], object] = Dead()
        self.dead = False
        for name in CHANGES:
            setattr(self, name, self._watched(name, getattr(os, name)))

    def __getattr__(self, name: str) -> Any:  # Any: of ``os``
        return getattr(os, name)

    def _watched(self, act: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any, **more: Any) -> Any:
            self._step()
            if act in ("write", "fchmod", "chmod"):
                return function(*arguments, **more)
            if act == "fsync":
                function(*arguments)
                return self._disk.synced(*arguments)
            paths = [os.fspath(path) for path in arguments[: 2 if act in ("rename", "link") else 1]]
            heard = self._disk.changing(act, paths[0], paths[1] if len(paths) > 1 else "")
            result = function(*arguments, **more)
            heard()
            return result

        return done

    def _step(self) -> None:
        if self.dead:
            raise Dead
        here, self.acts = self.acts, self.acts + 1
        if here != self.at:
            return
        if callable(self.what):
            self.what()
            return
        self.dead = isinstance(self.what, Dead)
        raise self.what


class Promised:
    """What stores have said to be durable, and whether it is.

    `remembering` gives a store that tells here whatever it promises. A name that is deleted is promised no more;
    one that is on its way may be at either end.
    """

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}
        self._moving: dict[tuple[str, str], str] = {}

    def remembering(self, store: Any) -> Any:  # Any: a store, of whatever class
        """Give a store that does the same, and promises."""
        return _Remembering(store, self)

    def keep(self, name: str, sha256: str) -> None:
        """Hear that a name has these bytes, for good."""
        self._kept[name] = sha256

    def forget(self, name: str) -> None:
        """Hear that a name goes."""
        self._kept.pop(name, None)

    @contextlib.contextmanager
    def moving(self, source: str, target: str, sha256: str) -> Iterator[None]:
        """Hear that bytes go from a name to another."""
        if source in self._kept:
            self._moving[source, target] = self._kept.pop(source)
        self._kept.pop(target, None)
        yield
        self._moving.pop((source, target), None)
        self._kept[target] = sha256

    def broken(self, root: str | os.PathLike[str]) -> list[str]:
        """Give the promises that this directory does not hold."""

        def holds(name: str, sha256: str) -> bool:
            path = Path(root, name)
            return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256

        wrong = [name for name, sha256 in self._kept.items() if not holds(name, sha256)]
        return wrong + [
            f"{source} or {target}"
            for (source, target), sha256 in self._moving.items()
            if not holds(source, sha256) and not holds(target, sha256)
        ]


class _Remembering:
    def __init__(self, store: Any, promised: Promised) -> None:
        self._store, self._promised = store, promised
        self.uri = store.uri

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _sha256(self, name: str) -> str:
        found = self._store.digest(name)
        return found[1] if found else ""

    def put_if_absent(self, name: str, data: bytes) -> Any:
        answer = self._store.put_if_absent(name, data)
        if answer != "unknown":
            self._promised.keep(name, self._sha256(name))
        return answer

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[Any]:
        with self._store.create(name) as sink:
            yield sink
        self._promised.keep(name, self._sha256(name))

    def move(self, source: str, target: str) -> None:
        with self._promised.moving(source, target, self._sha256(source)):
            self._store.move(source, target)

    def delete(self, name: str) -> None:
        self._promised.forget(name)
        self._store.delete(name)


def calls(source: str, *names: str) -> list[int]:
    r"""Give where a module calls one of these functions: their places among all calls in its source.

    Examples
    --------
    >>> calls("os.fsync(1)\nprint(2)\nif True:\n    _sync(3)\n", "fsync", "_sync")
    [0, 2]
    """
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return [place for place, node in enumerate(found) if _name(node) in names]


def without(source: str, place: int) -> str:
    r"""Give the source of a module without one call: a mutant.

    Examples
    --------
    >>> without("os.fsync(1)\n_sync(3)\n", 1)
    'os.fsync(1)\nNone'
    """
    tree = ast.parse(source)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    victim = found[place]

    class Removing(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            if node is victim:
                return ast.copy_location(ast.Constant(None), node)
            return self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Removing().visit(tree)))


def anew(name: str, source: str, system: System | None = None) -> types.ModuleType:
    """Give a module made of a source, with its own globals, and a process's ``os``: as if just imported there."""
    module = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102 - of our own source
    if system is not None:
        module.__dict__["os"] = system
    return module


def _name(node: ast.Call) -> str:
    function = node.func
    return (
        function.attr
        if isinstance(function, ast.Attribute)
        else function.id
        if isinstance(function, ast.Name)
        else ""
    )
