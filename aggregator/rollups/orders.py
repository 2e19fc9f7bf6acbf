"""The orders that calls are ranked by: by what, and which call comes before which."""

from enum import StrEnum

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import CACHE_CREATION_COST, CACHE_READ_COST, OUTPUT_COST, PRICED_ROWS, UNCACHED_COST


class Order(StrEnum):
    """A quantity that calls are ranked by, the largest first: start, start of those that failed, latency, or cost."""

    NEWEST = "newest"
    FAILING = "failing"
    SLOWEST = "slowest"
    DEAREST = "dearest"


ORDERS = (Order.NEWEST, Order.FAILING, Order.SLOWEST, Order.DEAREST)


def rank_of(call: Call, order: Order) -> int | None:
    """Return what a call is ranked by; None: it has no place in the order, or is no started call."""
    if call.started_us is None or order is Order.NEWEST:
        return call.started_us
    if order is Order.FAILING:
        return call.started_us if call.failed and call.ended_us is not None else None
    return call.latency_ms if order is Order.SLOWEST else cost_of(call)


def cost_of(call: Call) -> int | None:
    """Return what a call cost, in pico-dollars, of what has a price; None where nothing has."""
    cost = None
    for vector in call.usage.values():
        if vector[PRICED_ROWS]:
            of_model = (
                vector[UNCACHED_COST] + vector[CACHE_READ_COST] + vector[CACHE_CREATION_COST] + vector[OUTPUT_COST]
            )
            cost = of_model if cost is None else cost + of_model
    return cost
