"""Run the benchmarks, or one group: prints one JSON object a line, everything else on stderr."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
GROUPS = {
    "node": "node.py",
    "dask": "dask_overhead.py",
    "plan": "plan.py",
    "gen3": "gen3.py",
    "many": "many_jobs.py",
    "ingest": "ingest.py",
    "report": "report.py",
    "emit": "emit.py",
    "transport": "transport.py",
}
LONG = {"plan": ("--large",), "emit": ("--large",)}
"""What a group gets besides where it is asked for by its name: it takes minutes."""


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        print(f"error: no group {', '.join(unknown)}; there are: {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    failed = 0
    for name, script in GROUPS.items():
        if not wanted or name in wanted:
            print(f"# {name}", file=sys.stderr)
            sys.argv = [str(HERE / script), *(LONG.get(name, ()) if wanted else ())]
            try:
                runpy.run_path(str(HERE / script), run_name="__main__")
            except SystemExit as end:
                failed = failed or int(end.code or 0)
    return failed


if __name__ == "__main__":
    raise SystemExit(main([word for word in sys.argv[1:] if word]))
