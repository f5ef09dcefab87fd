"""The nouns of the house, frozen, standard library only, and the one page of hashing.

Owns data IDs, dataset types, datasets, artifacts, the universe, states, ids and recipes. Serves
every room above. Never reads a file, a clock or the network.
"""

from prestow.model.data_id import DataId
from prestow.model.dataset import Artifact, Dataset, DatasetType, State

__all__ = ["Artifact", "DataId", "Dataset", "DatasetType", "State"]
