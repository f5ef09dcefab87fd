"""Who waits for whom in an emission, in each part and between parts, held to the plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from prestow.verify.emitted_expected import Jobs
from prestow.verify.findings import SHOWN, Findings

Pair = tuple[int, int]


def check_order(
    jobs: Jobs, part_of: Mapping[int, int], edges: set[Pair], waits: set[Pair], findings: Findings
) -> None:
    """Hold edges of jobs, and of parts, to those of the plan.

    Parameters
    ----------
    part_of : mapping of int to int
        The part of each job that was emitted.
    edges, waits : set of (parent, child)
        As they were emitted: of jobs in one part, and of parts.
    """
    within: set[Pair] = set()
    between: set[Pair] = set()
    for parent, child in zip(*jobs.edges(), strict=True):
        ends = part_of.get(parent), part_of.get(child)
        if ends[0] is None or ends[1] is None:
            continue  # left out, or noted as lacking
        if ends[0] == ends[1]:
            within.add((parent, child))
        else:
            between.add((ends[0], ends[1]))
    names = jobs.names
    lacking, strange = sorted(within - edges), sorted(edges - within)
    shown = [f"{names[c]} does not wait for {names[p]}" for p, c in lacking[:SHOWN]]
    findings.add("PST-V054", shown, len(lacking))
    shown = [f"{names[c]} waits for {names[p]}, of which it needs nothing" for p, c in strange[:SHOWN]]
    findings.add("PST-V054", shown, len(strange))
    lacking, strange = sorted(between - waits), sorted(waits - between)
    findings.add(
        "PST-V054", [f"part {c} does not wait for part {p}" for p, c in lacking[:SHOWN]], len(lacking)
    )
    shown = [f"part {c} waits for part {p}, of which it needs nothing" for p, c in strange[:SHOWN]]
    findings.add("PST-V054", shown, len(strange))
    tied = knot(edges) if edges - within else []
    if tied:
        findings.add("PST-V055", [", ".join(names[n] for n in tied[:SHOWN])])
    tied = knot(waits)
    if tied:
        findings.add("PST-V055", [", ".join(f"part {n}" for n in tied[:SHOWN])])


def knot(pairs: Collection[Pair]) -> list[int]:
    """Give what cannot begin, since it waits in a circle or for such; sorted.

    Examples
    --------
    >>> knot({(0, 1), (1, 2)}), knot({(0, 1), (1, 2), (2, 1)})
    ([], [1, 2])
    """
    after: dict[int, list[int]] = defaultdict(list)
    waits: dict[int, int] = defaultdict(int)
    for parent, child in pairs:
        after[parent].append(child)
        waits[child] += 1
    ready = [node for node in after if not waits[node]]
    while ready:
        for child in after.get(ready.pop(), ()):
            waits[child] -= 1
            if not waits[child]:
                ready.append(child)
    return sorted(node for node, count in waits.items() if count)
