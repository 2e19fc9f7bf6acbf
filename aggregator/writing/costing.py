"""What usage costs by a price book: the counts of a call with the costs of what has a price. Pure."""

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import CACHE_CREATION_1H, UNREAD_ROWS, Usage, is_net, with_costs, without_costs
from aggregator.prices.book import PriceBook


def priced_usage(own: Usage, stated: Usage, project_id: str, started_us: int, prices: PriceBook) -> Usage:
    """Return what is a call's own of what it states, with the costs of what has a price when the call starts."""
    priced = {}
    for model, vector in own.items():
        price = None if vector[UNREAD_ROWS] else prices.price(project_id, model, started_us)
        if price is not None:
            costs = price.cost(vector, vector[CACHE_CREATION_1H], is_net(stated[model]))
            vector = with_costs(vector, costs)
        priced[model] = vector
    return priced


def repriced_usage(call: Call, project_id: str, prices: PriceBook) -> Usage:
    """Return the call's own usage with what it costs by these prices; as it is while the call has not ended."""
    if call.started_us is None or call.ended_us is None:
        return call.usage
    own = {model: without_costs(vector) for model, vector in call.usage.items()}
    return priced_usage(own, call.stated or call.usage, project_id, call.started_us, prices)
