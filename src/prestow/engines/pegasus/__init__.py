"""A plan as a workflow of Pegasus 5: abstract workflow, catalogues, properties, packed manifests.

Owns what is written for Pegasus, and the checks of it before Pegasus sees it. Serves the project.
Never runs anything, and reads no clock, user or host: the same plan, with its places and hints,
for the same site gives the same bytes.

Nodes see the store: each job commits its products there itself, and Pegasus carries the inputs
that exist, the code, the manifests and, from job to job, the receipts. A job that ends well has a
receipt for each of its quanta, also where nothing was made, so no declared file is ever missing;
and Pegasus never writes at a name in the store.
"""

from prestow.engines.pegasus.emission import Emission, emit

__all__ = ["Emission", "emit"]
