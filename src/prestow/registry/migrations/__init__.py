"""Steps from one registry schema to the next, by alembic; `prestow.registry.upgrading` takes them.

Revision 000N makes what schema version N has and N - 1 had not. A step knows the tables of its own time
and not those of today, so it is never changed. What depends on the universe (records of dimensions,
relations, data IDs) is no business of these steps: see `prestow.registry.growing`.
"""
