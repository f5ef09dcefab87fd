"""The passes of the planner; reading the tuple is reading the planner.

Each is one file and one public function that takes the state and gives the next one. None writes
anything, and problems are collected, not raised.
"""

from collections.abc import Callable

from prestow.plan.passes.afford import afford
from prestow.plan.passes.cut import cut
from prestow.plan.passes.expand import expand
from prestow.plan.passes.flat import flat
from prestow.plan.passes.group import group
from prestow.plan.passes.match import match
from prestow.plan.passes.name import name
from prestow.plan.passes.overdue import overdue
from prestow.plan.passes.promised import promised
from prestow.plan.passes.prove import prove
from prestow.plan.passes.recipe import recipe
from prestow.plan.passes.select import select
from prestow.plan.passes.tell import tell
from prestow.plan.passes.waive import waive
from prestow.plan.passes.want import want
from prestow.plan.state import State

PASSES: tuple[Callable[[State], State], ...] = (
    select,
    expand,
    overdue,
    match,
    want,
    waive,
    cut,
    recipe,
    name,
    group,
    flat,
    prove,
    afford,
    promised,
    tell,
)

__all__ = ["PASSES"]
