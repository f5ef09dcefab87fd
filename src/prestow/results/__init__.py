"""Afterwards: where a plan stands, what is where, what came from what, and why something is as it is.

Owns the questions that people ask when jobs have run. Serves the project. Never changes anything.
"""
