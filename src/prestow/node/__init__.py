"""On the node: stage in, run, verify, put aside, settle, promote, report.

Owns the execution of one manifest and the local repository it works in. Serves the engines and
``python -m prestow.node``. Never knows the registry, the planner or an engine; standard library
only, since a node pays for what it imports a hundred thousand times.

Tasks of one process run one after the other: standard streams, working directory and environment
are the process's, so threads that share one process must not run manifests at the same time.
"""

from prestow.node.outcome import Failure, Outcome
from prestow.node.run import run_manifest, run_manifest_json

__all__ = ["Failure", "Outcome", "run_manifest", "run_manifest_json"]
