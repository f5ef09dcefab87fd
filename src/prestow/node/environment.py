"""The environment that a quantum was made in, as values that are equal where environments are.

Python, prestow, the packages that are installed and the digest of the workflow's code; no host, user, clock
or path. Of a command it is the environment that started it.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def environment(code: str | None) -> dict[str, Any]:  # Any: what a file of values holds
    """Give the environment of this process.

    Parameters
    ----------
    code : str or None
        SHA-256 of the workflow's code, if it has any.

    Examples
    --------
    >>> found = environment(None)
    >>> sorted(found), found["packages"]["numpy"].split(".")[0] > "0"
    (['code', 'implementation', 'packages', 'prestow_version', 'python'], True)
    """
    import sys

    return {
        "python": ".".join(str(n) for n in sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "prestow_version": sys.modules["prestow"].__version__,  # the key "prestow" is the story's
        "packages": dict(_packages()),
        "code": code,
    }


@cache
def _packages() -> tuple[tuple[str, str], ...]:
    """Give names, as package indexes write them, and versions; what stands first on the path counts."""
    import re
    import sys
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for one in distributions(path=[place for place in sys.path if place]):
        name = one.metadata["Name"]  # of what is half removed there is none
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), one.version or "")
    return tuple(sorted(found.items()))
