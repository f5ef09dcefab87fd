"""Grouping in parts: names of jobs, edges between them, packing, priorities."""
