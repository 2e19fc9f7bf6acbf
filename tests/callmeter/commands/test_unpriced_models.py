"""`callmeter prices` without a model: what has no cost, and why."""

import json

import pytest
import redis

from aggregator.calls.event import UsageCounts
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.file import parse_price_file
from callmeter.commands.unpriced_models import UnpricedModel, read_unpriced_models, reason, show_unpriced_models
from callmeter.settings import RedisSettings, Settings
from tests.support.folding import NOW_US, PROJECT, SHARD, apply, complete, open_shard, tokens

UNREAD = {"gpt-4o": UsageCounts(0, 0, 0, 0, 0, 1, is_read=False)}


def test_models_without_a_cost(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Most calls first, of all projects, each with the reason; as JSON too."""
    client = redis.Redis.from_url(redis_url)
    settings = Settings(redis=RedisSettings(url=redis_url, namespace=SHARD.namespace))
    book = PriceBook(None, PriceCatalogue())
    show_unpriced_models(read_unpriced_models(settings), book, NOW_US, as_json=False)
    assert capsys.readouterr().out == "Every call with usage has a cost.\n"
    usage = {"acme-llm-1": tokens(5)}
    apply(open_shard(client), [complete("a", usage=usage), complete("b", usage=UNREAD), complete("c", usage=usage)])
    rows = read_unpriced_models(settings)
    assert rows == [UnpricedModel(PROJECT, "acme-llm-1", False, 2), UnpricedModel(PROJECT, "gpt-4o", True, 1)]
    show_unpriced_models(rows, book, NOW_US, as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"project_id": PROJECT, "model": "acme-llm-1", "calls": 2, "reason": "nobody lists a price"},
        {"project_id": PROJECT, "model": "gpt-4o", "calls": 1, "reason": "usage without any count of tokens"},
    ]
    show_unpriced_models(rows, book, NOW_US, as_json=False)
    assert "acme-llm-1" in capsys.readouterr().out


def test_reasons() -> None:
    """A price since, a name of several providers, and models that are not counted apart."""
    book = PriceBook(parse_price_file("prices: [{model: acme, input: 1}]", "p.yaml"), PriceCatalogue())
    told = [
        reason(UnpricedModel("p", model, False, 1), book, PriceCatalogue(), NOW_US)
        for model in ("acme", "meta-llama/llama-3.1-8b-instruct-x", "")
    ]
    assert told == ["had no price when it was counted; it has one now", *["nobody lists a price"] * 2]
    assert reason(UnpricedModel("", "", False, 1), book, PriceCatalogue(), NOW_US).startswith("more models")
