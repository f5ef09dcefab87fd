"""Matching: which quanta there are, what each reads, and what is left out for which reason.

Serves the pass ``match``. Owns joins of data IDs; a task is a few operations on columns.
"""
