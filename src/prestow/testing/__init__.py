"""Shipped for those who write stores, formats, engines and tasks of their own; nothing here imports it.

Owns contract suites, strategies and small jobs to run.
"""
