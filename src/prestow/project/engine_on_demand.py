"""An engine that is made when something is to be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prestow.engines import Ended, Engine, JobSpec, open_engine
from prestow.errors import Problem, ProjectError
from prestow.plugins import names


class EngineOnDemand:
    """An engine that is made when it is started: finding nothing to do then costs no Dask."""

    def __init__(self, name: str, options: Mapping[str, int | str]) -> None:
        if name in names("emitters"):
            fix = f"write it for {name}: prestow emit {name} --site FILE --into DIR"
            raise ProjectError(Problem("PST-R006", f"prestow does not run jobs on {name} itself", name, fix))
        if name not in names("engines"):
            open_engine(name)  # raises, and lists what there is
        self.name = name
        self._options = options
        self._engine: Engine | None = None

    @property
    def _made(self) -> Engine:
        if self._engine is None:
            try:
                self._engine = open_engine(self.name, **self._options)
            except ImportError as error:
                fix = f"pip install 'prestow[{self.name}]', or prestow run --engine local"
                raise ProjectError(
                    Problem("PST-R006", f"the engine needs what is not installed: {error}", self.name, fix)
                ) from error
        return self._engine

    @property
    def notes(self) -> tuple[str, ...]:
        """What the engine has to say, once it is made."""
        return tuple(getattr(self._engine, "notes", ()))

    @property
    def window(self) -> int:
        """How many jobs to have under way at once, as the engine sees it now."""
        return self._made.window

    def start(self) -> None:
        """Make it, and begin."""
        self._made.start()

    def submit(self, spec: JobSpec, parents: Sequence[object]) -> object:
        """Take a job."""
        return self._made.submit(spec, parents)

    def wait(self, seconds: float) -> list[Ended]:
        """Give what has ended."""
        return self._made.wait(seconds)

    def drain(self) -> None:
        """Begin nothing more."""
        self._made.drain()

    def hold(self, label: str) -> None:
        """Begin no more jobs of a label, if the engine can."""
        if hasattr(self._made, "hold"):
            self._made.hold(label)

    def avoid(self, host: str) -> bool:
        """Give a host nothing more, if the engine can; say whether it does."""
        return hasattr(self._made, "avoid") and self._made.avoid(host)

    def close(self, *, cancel: bool = False) -> None:
        """Release everything."""
        if self._engine is not None:
            self._engine.close(cancel=cancel)
