"""Matching: which quanta there are, what each reads, and what is left out for which reason.

Serves the pass ``match``. Owns joins of data IDs; each pass over a task is a few passes over columns.
"""

from prestow.plan.matching.tasks import match_all

__all__ = ["match_all"]
