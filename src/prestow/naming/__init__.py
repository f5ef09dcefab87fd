"""The identity and path of a dataset, in columns, and back again: where every name is born.

Owns the reading of a universe, path templates, and the column twins of ids and recipes. Serves the
planner, the pipeline loader and ingest. Never opens a store, and never gives one name to two
datasets.
"""
