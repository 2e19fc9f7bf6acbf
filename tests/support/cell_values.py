"""A cell, and what its calls used: with and without prices, and too large for 64 bits."""

from aggregator.rollups.cell import place_of
from aggregator.rollups.series import model_series
from tests.support.cell_store import HOURS_KEY

KEY = HOURS_KEY
PLACE = place_of(3, 0)
CELL = (KEY, PLACE)
A, B = model_series("a"), model_series("b")

UNPRICED, PRICED = [100, 20, 120, 30, 10, 1], [100, 20, 120, 30, 10, 1, 7, 8, 9, 10]
LARGE, LARGE_COST = [2**63 - 1, 0, 2**63 - 1, 0, 0, 1], [1, 1, 2, 0, 0, 1, 2**70, 0, 0, 5]
