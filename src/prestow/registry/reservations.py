"""Reservations: the names of plans in flight, in the store, so that no two plans are told the same name.

A reservation is two small objects. The *claim* ``_reservations/<run>/<plan>.<attempt>.<scope>`` holds
64 bits of each name, folded, and of the recipe under which it will be made; ``<plan>.accepted`` says
that the plan was told its names are its own. Nothing is locked. Who plans first puts its claim, then
looks at those of others, then accepts: of two plans that want a name under different recipes, each
sees the other's claim unless it was put after the look, and then the other sees this one.

Names of the scope ``inside`` begin with the run; those of ``anywhere`` may clash with any run's.
"""

from __future__ import annotations

import io
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prestow.errors import ObjectNotFoundError, PlanRefusedError, Problem, StoreError
from prestow.stores import Put, Store, Walkable

FOLDER = "_reservations"
SCHEMA = "prestow.reservation/1"
SHOWN = 3
PATIENCE = 10.0  # seconds that a plan waits for another one that is to give way
_PAUSE = 0.05
_HALF = 8  # bytes of a recipe
_CLAIM = re.compile(
    rf"{FOLDER}/(?P<run>[^/]+)/(?P<plan>[^/.]+)\.(?P<attempt>[0-9a-f]+)\.(?P<scope>inside|anywhere)"
)


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation: whose, and whether the plan was accepted or is being made.

    Parameters
    ----------
    run, plan : str
        Whose.
    claim : str
        Name of the claim in the store; who plans the same at the same time has a claim of his own.
    inside : bool
        Whether all names begin with the run.
    accepted : bool
        Whether the plan was told that its names are its own.
    """

    run: str
    plan: str
    claim: str
    inside: bool
    accepted: bool


def _accepted(run: str, plan: str) -> str:
    return f"{FOLDER}/{run}/{plan}.accepted"


def pack(names: pa.Array, recipes: pa.Array, run: str, plan: str) -> bytes:
    """Give a claim's bytes: 64 bits of each name (a number) and of each recipe (its first 8 bytes)."""
    heads = recipes.cast(pa.binary()).cast(pa.binary(_HALF))
    table = pa.table({"name": names.cast(pa.uint64()), "recipe": heads})
    table = table.replace_schema_metadata({"prestow": SCHEMA, "run": run, "plan": plan})
    sink = io.BytesIO()
    # Hashes do not compress, and have no statistics that help.
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def reservations(store: Store, run: str | None = None) -> tuple[Held, ...]:
    """Give all reservations, or those of a run, sorted; of one plan most often one.

    Raises
    ------
    StoreError
        PST-R001 if the store cannot list its names.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    names = [name for name, _ in store.walk(FOLDER if run is None else f"{FOLDER}/{run}")]
    told = {name for name in names if name.endswith(".accepted")}
    found = []
    for name in names:
        match = _CLAIM.fullmatch(name)
        if match is not None:
            accepted = _accepted(match["run"], match["plan"]) in told
            found.append(Held(match["run"], match["plan"], name, match["scope"] == "inside", accepted))
    return tuple(found)


def is_reserved(store: Store, run: str, plan: str) -> bool:
    """Say whether a plan's names are reserved for it."""
    return store.size(_accepted(run, plan)) is not None


def reserve(
    store: Store,
    run: str,
    plan: str,
    claim: Callable[[], bytes],
    *,
    inside: bool,
    shown: Callable[[Sequence[int]], Sequence[str]],
    free: Callable[[str], bool] = lambda _: False,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Reserve the names of a plan; say whether it had not been done before.

    Parameters
    ----------
    claim : callable
        Gives what `pack` gave; asked only if needed.
    shown : callable
        Gives the paths of these hashes, for people.
    free : callable
        Frees what can be freed of a run (what is settled there); says whether anything was.

    Raises
    ------
    PlanRefusedError
        PST-P031 for each other plan that makes a name under another recipe. Then nothing of this
        call stays in the store.
    """
    if is_reserved(store, run, plan):
        return False
    scope = "inside" if inside else "anywhere"
    own = f"{FOLDER}/{run}/{plan}.{uuid.uuid4().hex[:12]}.{scope}"
    data = claim()
    try:
        if store.put_if_absent(own, data) is not Put.YES and store.read(own) != data:
            raise StoreError(Problem("PST-R001", "the store does not keep what it is given", own))  # noqa: TRY301 - withdrawn below
        _look(store, run, plan, data, inside=inside, shown=shown, free=free, sleep=sleep)
    except BaseException:
        store.delete(own)
        raise
    store.put_if_absent(_accepted(run, plan), b"accepted\n")
    return True


def refuse_clashes(
    store: Store,
    run: str,
    plan: str,
    data: bytes,
    *,
    inside: bool,
    shown: Callable[[Sequence[int]], Sequence[str]],
) -> None:
    """Look once at the reservations of others, and reserve nothing; ``data`` is what `pack` gave.

    Raises
    ------
    PlanRefusedError
        PST-P031, as `reserve`.
    """
    _look(
        store,
        run,
        plan,
        data,
        inside=inside,
        shown=shown,
        free=lambda _: False,
        sleep=lambda _: None,
        patience=0,
    )


def _look(
    store: Store,
    run: str,
    plan: str,
    data: bytes,
    *,
    inside: bool,
    shown: Callable[[Sequence[int]], Sequence[str]],
    free: Callable[[str], bool],
    sleep: Callable[[float], object],
    patience: float = PATIENCE,
) -> None:
    """Look at others until none is in the way; who has the greater id gives way to who plans at the same time."""
    table = pq.read_table(io.BytesIO(data))
    waited, harmless, freed = 0.0, set[str](), set[str]()
    while True:
        clashes: list[tuple[Held, int, list[int]]] = []
        for other in _others(store, run, plan, inside=inside):
            if other.claim in harmless:
                continue
            count, first = _clash(store, other, table)
            if count and other.run not in freed:
                freed.add(other.run)
                if free(other.run):
                    count, first = _clash(store, other, table)
            if count:
                clashes.append((other, count, first))
            else:
                harmless.add(other.claim)
        if not clashes:
            return
        if any(other.accepted or other.plan < plan for other, _, _ in clashes) or waited >= patience:
            first_of = {other.plan: (other, n, first) for other, n, first in reversed(clashes)}
            raise PlanRefusedError(
                *(_refusal(run, plan, other, n, shown(first)) for other, n, first in first_of.values())
            )
        sleep(_PAUSE)
        waited += _PAUSE


def _others(store: Store, run: str, plan: str, *, inside: bool) -> Iterator[Held]:
    """Give reservations whose names could be this plan's; runs are directories, and fold like names."""
    for other in reservations(store):
        same = other.run.lower() == run.lower()
        if (other.run, other.plan) != (run, plan) and (same or not inside or not other.inside):
            yield other


def _clash(store: Store, other: Held, table: pa.Table) -> tuple[int, list[int]]:
    """Count the names that both make under different recipes, and give the first."""
    try:
        theirs = pq.read_table(io.BytesIO(store.read(other.claim)))
    except ObjectNotFoundError:  # withdrawn meanwhile
        return 0, []
    shared = theirs.filter(pc.is_in(theirs["name"], value_set=table["name"]))
    if not shared.num_rows:
        return 0, []
    both = table.join(shared.rename_columns(["name", "other"]), "name", join_type="inner")
    differ = both.filter(pc.not_equal(both["recipe"], both["other"]))["name"]
    return len(differ), differ.slice(0, SHOWN).to_pylist()


def _refusal(run: str, plan: str, other: Held, count: int, names: Sequence[str]) -> Problem:
    state = "has reserved" if other.accepted else "is reserving at this moment"
    more = f" and {count - len(names):,} more" if count > len(names) else ""
    return Problem(
        "PST-P031",
        f"plan {other.plan[:8]} of run {other.run} {state} names that plan {plan[:8]} would make from other inputs, "
        f"configuration or code: {', '.join(names)}{more}",
        f"run {run} · plans {plan[:8]} and {other.plan[:8]}",
        f"plan into another run (--run NAME), or give the other up: prestow drop {other.plan[:8]}",
    )


def release(store: Store, run: str, plan: str) -> bool:
    """Give the names of a plan free; say whether any were held. Killed on the way, again ends it."""
    claims = [held.claim for held in reservations(store, run) if held.plan == plan]
    accepted = is_reserved(store, run, plan)
    store.delete(_accepted(run, plan))
    for claim in claims:
        store.delete(claim)
    return accepted or bool(claims)


def release_run(store: Store, run: str) -> int:
    """Give all names of a run free, for it is removed; say how many plans had some."""
    return sum(release(store, run, plan) for plan in sorted({held.plan for held in reservations(store, run)}))


def release_settled(store: Store, run: str, settled: pa.Table) -> tuple[str, ...]:
    """Give the names of plans free of which everything is settled: from then on receipts keep them.

    ``settled`` is what the registry says of the run's quanta: at least ``planned_recipe``.
    """
    gone: list[str] = []
    for held in reservations(store, run) if settled.num_rows else ():
        try:
            data = store.read(held.claim)
        except ObjectNotFoundError:
            continue
        if held.accepted and is_covered(data, settled):
            release(store, run, held.plan)
            gone.append(held.plan)
    return tuple(gone)


def is_covered(data: bytes, settled: pa.Table) -> bool:
    """Say whether every quantum of a claim is settled; ``settled`` as in `release_settled`."""
    if not settled.num_rows:
        return False
    wanted = pq.read_table(io.BytesIO(data), columns=["recipe"])["recipe"]
    heads = pc.binary_slice(settled["planned_recipe"].cast(pa.binary()), 0, _HALF).cast(pa.binary(_HALF))
    return pc.all(pc.is_in(wanted, value_set=heads.combine_chunks())).as_py() is not False
