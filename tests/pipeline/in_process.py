"""The product without its processes: batches folded by the real aggregator, asked through the real app."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx

from aggregator.layout.keys import ShardName
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.file import load_price_file
from aggregator.rollups.levels import Retention
from aggregator.store.connection import connect, connect_readers
from aggregator.store.reader import StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from api.access.basic_auth import OpenAccess
from api.app import ApiSettings, make_app
from api.prometheus.query_loop import QueryLoop
from api.prometheus.store_numbers import StoreNumbers
from api.query.answers import StoreAnswers
from ingest.decoding.batch import decode_batch
from tests.support.paths import CASES

FORM = {"content-type": "application/x-www-form-urlencoded"}
NAMESPACE = "in-process"
RETENTION = Retention(*(3650 * DAY_S,) * 4)


class Batch(NamedTuple):
    """Message values that are applied in one step. `restart`: by a writer that has nothing in memory."""

    values: list[bytes]
    restart: bool


class InProcess:
    """Folds into one Redis and answers from it; `now` is the clock of broker and api."""

    def __init__(self, redis_url: str, now: datetime) -> None:
        now_us = round(now.timestamp()) * 1_000_000
        self._now_us = now_us
        self._prices = PriceBook(load_price_file(CASES / "prices.yaml"), PriceCatalogue())
        self._client = connect(redis_url)
        self._readers = connect_readers(redis_url)
        reader = StoreReader(self._readers, NAMESPACE)
        answers = StoreAnswers(reader, RETENTION, lambda: now_us)
        # Queries of Prometheus have an event loop of their own, and connections belong to one.
        self._query_readers, self._query_loop = connect_readers(redis_url), QueryLoop()
        numbers = partial(StoreNumbers, StoreReader(self._query_readers, NAMESPACE), RETENTION)
        settings = ApiSettings(clock=lambda: now_us)
        app = make_app(answers, OpenAccess(), settings, numbers, self._query_loop)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callmeter", timeout=None)
        self._runner = asyncio.Runner()

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        async def close() -> None:
            await self._http.aclose()
            await self._readers.aclose()

        self._runner.run(close())
        self._runner.close()
        self._query_loop.close(self._query_readers.aclose)
        self._client.close()

    def fold(self, shards: Sequence[Sequence[Batch]], limits: ShardLimits) -> None:
        """Forget everything; then apply the batches of each shard, one after the other."""
        self._client.flushall()
        for partition, batches in enumerate(shards):
            store = ShardStore(self._client, ShardName(NAMESPACE, "calls", partition))
            shard, offset = None, 0
            for batch in batches:
                if shard is None or batch.restart:
                    shard = Shard(store, self._prices, RETENTION, limits)
                brokers_us = [self._now_us] * len(batch.values)
                decoded = decode_batch(batch.values, brokers_us, RETENTION.calls_s * 1_000_000)
                assert decoded.invalid == []
                offset += len(batch.values)
                shard.apply(decoded.events, offset, self._now_us, self._now_us, {})
            # Of some all cells are in frames in the end, of the others those of the last batch are not.
            while shard is not None and offset % 2 and shard.seal(self._now_us):
                pass

    def get(self, path: str, parameters: Sequence[tuple[str, str]], as_form: bool = False) -> tuple[int, Any]:
        """Status and body of the answer to a query of Prometheus' kind, by GET or as a form."""

        async def get() -> tuple[int, Any]:
            if as_form:
                response = await self._http.post(path, content=urlencode(parameters), headers=FORM)
            else:
                response = await self._http.get(path, params=list(parameters))
            return response.status_code, response.json()

        return self._runner.run(get())

    def ask(self, requests: Sequence[tuple[str, Any]]) -> list[tuple[int, Any]]:
        """Status and body of the answer to each (path, request)."""

        async def ask_all() -> list[tuple[int, Any]]:
            responses = [await self._http.post(path, content=json.dumps(request)) for path, request in requests]
            return [(response.status_code, response.json()) for response in responses]

        return self._runner.run(ask_all())
