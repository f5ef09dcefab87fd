"""The frame that the others of its band are laid on."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """Nothing to choose: the gate chose."""


def run(quantum: Quantum, config: Config) -> None:  # noqa: ARG001 - every task takes both
    """Promote the reduced frame that the gate named."""
    from measuring import images

    visit = quantum.get("gate")["reference"]
    frame = images.read_image(quantum.path("isr", visit=visit))
    frame.meta["REFVISIT"] = (visit, "visit whose pixels the others are laid on")
    images.write_image(quantum.path("reference"), frame)
