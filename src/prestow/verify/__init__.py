"""The proof of a plan, made again by a checker that knows nothing of the planner.

Owns what must hold of a plan on disk, and finds where it does not. Serves ``prestow verify`` and
``python -m prestow.verify PLAN``. Imports the standard library and pyarrow only, nothing else of
prestow: rules of hashing and naming are written here a second time, on purpose, from the page that
describes them. If both agree, the plan is right or both are wrong in the same way.

`verify_emitted` holds what was written for another system against the plan, as independently.

It reads ``proof.json`` (what ``plan.yaml`` says, as JSON), the tables, and ``code.zip``.
"""

from __future__ import annotations

from prestow.verify.checker import Report, verify
from prestow.verify.emitted import EmittedReport, verify_emitted
from prestow.verify.findings import KINDS, Finding

__all__ = ["KINDS", "EmittedReport", "Finding", "Report", "verify", "verify_emitted"]
