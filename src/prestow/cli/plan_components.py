"""``prestow plan --components``: into how many parts a plan falls that share nothing it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.cli.output import Output, table

if TYPE_CHECKING:
    from prestow.plan.splitting import Components


def show_components(found: Components, output: Output) -> None:
    """Show how many components there are, the largest, and how the quanta are spread."""
    rows = found.histogram()
    largest, total = int(found.sizes.max(initial=0)), int(found.sizes.sum())
    facts = {
        "components": found.count, "quanta": total, "largest": largest,
        "histogram": [dict(zip(("least", "most", "components", "quanta"), row, strict=True)) for row in rows],
    }  # fmt: skip
    parts = "part" if found.count == 1 else "parts"
    lines = [
        f"{total:,} quanta in {found.count:,} {parts} that share no planned dataset; the largest has {largest:,}",
        table(
            ("quanta in one", "parts", "quanta"),
            [(f"{least:,} to {most:,}", f"{count:,}", f"{quanta:,}") for least, most, count, quanta in rows],
            indent="    ",
        ),
    ]
    following = "prestow plan --part 1/2" if found.count > 1 else "prestow plan"
    output.answer("plan-components", facts, "\n".join(lines), following=following)
