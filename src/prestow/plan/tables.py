"""The tables of a plan: their names, and which of their columns the plan's id covers."""

from __future__ import annotations

from collections.abc import Mapping

LOGICAL: Mapping[str, tuple[str, ...]] = {
    "datasets": ("type", "data_id", "id", "run", "root", "format", "recipe"),
    "names": ("type", "path", "producer"),
    "quanta": ("recipe", "job"),
    "inputs": ("quantum", "connection", "dataset"),
    "outputs": ("quantum", "connection", "dataset", "optional"),
    "jobs": ("name", "label", "depth", "first", "count"),
    "job_edges": ("parent", "child", "soft"),
    "left_out": ("task", "data_id", "reason", "detail"),
}
"""Parts, and columns of them, that the plan's id covers, in this order.

``datasets`` are the existing ones; of a planned one ``names`` are enough: its path reads back, its producer
has the recipe, and a recipe covers task and data ID. What follows from the rest is not covered: positions, and columns that a data ID has too.
"""

TABLES = ("datasets", "quanta", "inputs", "outputs", "jobs", "job_edges", "left_out", "locations")
"""All tables that every plan has."""
