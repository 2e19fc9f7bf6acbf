"""Usage that no count was found in is looked at for its names: once for each model, within bounds, whatever comes."""

import json
from typing import Any

import pytest
import redis

from aggregator.layout.keys import ShardKeys
from aggregator.layout.unread import MODELS_EXPLAINED_MAX, NAME_CHARACTERS_MAX, NAMES_MAX, read_unread
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.store.shard_store import ShardStore
from callmeter.commands.unpriced_models import read_unpriced_models, show_unpriced_models
from callmeter.settings import RedisSettings, Settings
from ingest.decoding.batch import decode_batch
from ingest.unread_usage import UnreadUsage, names_of
from tests.support.folding import NOW_US, SHARD, T0_US, apply, open_shard

YEAR_US = 400 * 86_400_000_000


def message(call_id: str, usage: Any, shape: str = "complete") -> bytes:
    """A call with this usage."""
    at = T0_US / 1_000_000
    call = {"project_id": "p", "id": call_id, "op_name": "o", "started_at": at, "ended_at": at}
    return json.dumps({shape: call | {"summary": {"usage": usage}}}).encode()


def fold(client: Any, unread: UnreadUsage, *values: bytes) -> None:
    """Decode, look and apply as a step does."""
    batch = decode_batch(values, [NOW_US] * len(values), YEAR_US)
    assert batch.messages == len(values)
    unread.look(ShardStore(client, SHARD), batch.events, values)
    apply(open_shard(client), batch.events)


def stored(client: Any) -> dict[tuple[str, str], list[str]]:
    """Returns what the shard keeps."""
    return read_unread(client.hgetall(ShardKeys(SHARD).unread))


def test_names_are_shown(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`callmeter prices` says which names stand in the usage that was not read; of what was read there is nothing."""
    client = redis.Redis.from_url(redis_url)
    odd = {"billed_units": 7, "tok\x1b[2J": 9}
    fold(client, UnreadUsage(), message("a", {"odd-model": odd}), message("b", {"gpt-4o": {"input_tokens": 5}}))
    assert stored(client) == {("p", "odd-model"): ["billed_units", "tok\x1b[2J"]}
    settings = Settings(redis=RedisSettings(url=redis_url, namespace=SHARD.namespace))
    [row] = read_unpriced_models(settings)
    assert (row.model, row.is_unread, row.calls, row.names) == ("odd-model", True, 1, tuple(odd))
    show_unpriced_models([row], PriceBook(None, PriceCatalogue()), NOW_US, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "it has billed_units" in shown
    assert "\x1b[2J" not in shown


def test_each_model_once(redis_url: str) -> None:
    """Messages are not decoded again for a model that has been looked for."""
    client, unread = redis.Redis.from_url(redis_url), UnreadUsage()
    fold(client, unread, message("a", {"m": {"first": 1}}))
    fold(client, unread, message("b", {"m": {"second": 1}}), message("c", {"n": {"third": 1}}))
    assert stored(client) == {("p", "m"): ["first"], ("p", "n"): ["third"]}


def test_bounds(redis_url: str) -> None:
    """Few names, none of them long, of few models."""
    client = redis.Redis.from_url(redis_url)
    wide = {"x" * 500: 1} | {f"name-{number}": 1 for number in range(100)}
    fold(client, UnreadUsage(), message("a", {"m": wide}))
    [names] = stored(client).values()
    assert (len(names), max(map(len, names))) == (NAMES_MAX, NAME_CHARACTERS_MAX)
    unread = UnreadUsage()
    for number in range(MODELS_EXPLAINED_MAX + 20):
        fold(client, unread, message(f"b-{number}", {f"model-{number}": {"odd": 1}}))
    assert len(stored(client)) == MODELS_EXPLAINED_MAX


@pytest.mark.parametrize("shape", ["complete", "end"])
def test_where_usage_may_stand(shape: str) -> None:
    """Usage is looked for in events of all shapes; messages that are none are passed over."""
    inner = json.loads(message("a", {"m": {"odd": 1}}, shape))
    values = [
        b"nonsense",
        b"[1]",
        None,
        json.dumps({"batch": [1, inner]}).encode(),
        json.dumps({"req": inner}).encode(),
    ]
    for value in values[3:]:
        assert names_of([*values[:3], value], {("p", "m")}) == {("p", "m"): ["odd"]}
    assert names_of([json.dumps({"req": inner[shape]}).encode()], {("p", "m")}) == {("p", "m"): ["odd"]}
