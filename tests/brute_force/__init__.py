"""A small, slow model of the whole product, written from the specification alone, to compare the real one with.

It imports nothing of the product, keeps every call in memory and scans all of them for each answer.
"""

from tests.brute_force.events import Invalid
from tests.brute_force.model import Model, fold
from tests.brute_force.prices import PriceList
from tests.brute_force.requests import Refused

__all__ = ["Invalid", "Model", "PriceList", "Refused", "fold"]
