"""A zoo of networks as people write them, on which an attack that claims to work on any network is tried.

from tests import zoo

capture, inputs, labels = zoo.capture_of(zoo.ZOO["resnet18"], seed=0)
"""

from tests.zoo.clients import capture_of, examples_of, in_table, is_installed, network_of, update_of
from tests.zoo.entries import ZooEntry
from tests.zoo.table import ZOO

__all__ = [
    "ZOO",
    "ZooEntry",
    "capture_of",
    "examples_of",
    "in_table",
    "is_installed",
    "network_of",
    "update_of",
]
