"""Configuration in a file of its own: task, key, value; on top of the pipeline's, below the command line's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from prestow.documents import read_document
from prestow.errors import Problem, raise_all
from prestow.model.hashing import canonical_json
from prestow.pipeline.configuration import WrongValueError, plain


class FileOverride(str):
    """``task.key=value`` as ``--set`` has it, with the value itself and where it stands.

    Parameters
    ----------
    place : str
        ``file:line:column``, for errors.
    """

    __slots__ = ("place", "value")

    place: str
    value: Any  # Any: a plain value

    @classmethod
    def of(cls, task: str, key: str, value: Any, place: str) -> Self:  # Any: a plain value
        """Make one."""
        made = cls(f"{task}.{key}={canonical_json(value)}")
        made.place, made.value = place, value
        return made

    @property
    def origin(self) -> str:
        """Where the value is from: ``file:line``."""
        return self.place.rpartition(":")[0]


def read_config_file(path: Path) -> tuple[FileOverride, ...]:
    r"""Read values of configuration from a YAML file: for each task its keys.

    Raises
    ------
    ConfigurationError
        With everything that is not of this form, each at its line and column. Whether tasks and keys are
        known is checked with the pipeline.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as d:
    ...     _ = Path(d, "mine.yaml").write_text("isr:\n  bias_level: 998.5\n")
    ...     read_config_file(Path(d, "mine.yaml"))[0]
    'isr.bias_level=998.5'
    """
    document = read_document(path)
    problems: list[Problem] = list(document.check_type((), document.data, dict))
    found: list[FileOverride] = []
    for task, body in document.data.items() if isinstance(document.data, dict) else ():
        wrong = document.check_type((task,), body, dict)
        problems += wrong
        for key, value in {} if wrong else body.items():
            line, column = document.marks[task, key]
            try:
                one = plain(value)
            except WrongValueError as error:
                problems.append(document.problem("PST-C011", (task, key, *error.path), error.what))
                continue
            found.append(FileOverride.of(str(task), str(key), one, f"{document.source}:{line}:{column}"))
    raise_all(problems)
    return tuple(found)
