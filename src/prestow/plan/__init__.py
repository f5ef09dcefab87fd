"""The planner: from a request to all that it comes to, every name proved before anything runs.

Owns the passes over columns, the plan and its directory, and the manifests made from it. Serves the
engines, results and the command line. Never writes a product, and never looks at what is done.

>>> print(*(step.__name__ for step in PASSES))
select expand overdue match want waive cut recipe name group flat prove afford promised tell
"""

from prestow.plan.building import build_plan
from prestow.plan.manifests import manifests
from prestow.plan.passes import PASSES
from prestow.plan.plan import Plan, PlanCode, Tables
from prestow.plan.request import DatasetSource, Request
from prestow.plan.sampling import Sample, choose_sample
from prestow.plan.summary import Summary, TaskRow, summary
from prestow.plan.writing import open_plan, write_plan

__all__ = [
    "PASSES",
    "DatasetSource",
    "Plan",
    "PlanCode",
    "Request",
    "Sample",
    "Summary",
    "Tables",
    "TaskRow",
    "build_plan",
    "choose_sample",
    "manifests",
    "open_plan",
    "summary",
    "write_plan",
]
