"""Afterwards: where a plan stands.

Owns the questions that people ask when jobs have run. Serves the project. Never changes anything.
"""
