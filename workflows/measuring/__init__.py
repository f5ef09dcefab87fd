"""What every workflow here measures: sky, sources with units, matching on the sky, QA plots.

A pipeline takes it along by ``code: [tasks, ../measuring]``; its tasks then import ``measuring.sources``.
"""
