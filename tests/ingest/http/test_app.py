"""The gateway's promises: 200 means acknowledged, what may pass later is never refused for good, bodies have limits."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from aggregator.access.key import new_access_key
from aggregator.access.key_ring import KeyRing
from ingest.dead_letters import DeadLettersUndelivered
from ingest.http.app import PATHS, GatewayLimits
from ingest.http.body import BodyLimits
from ingest.http.writers import KeyedWriters
from ingest.kafka.acknowledged import AcknowledgedProducer, Full, TooLarge, Unacknowledged
from ingest.kafka.message_key import KeyedMessage
from tests.ingest.http.memory_keys import MemoryKeys, headers_of
from tests.support.gatewaying import NOW_US, Gateway

UPSERT = "/call/upsert_batch"


def batch(*projects: str) -> bytes:
    """A batch with a start of each project."""
    starts = [
        {"project_id": project, "id": f"c{n}", "op_name": "op", "started_at": "2026-06-10T00:00:00Z"}
        for n, project in enumerate(projects)
    ]
    return json.dumps({"batch": [{"mode": "start", "req": {"start": start}} for start in starts]}).encode()


BATCH = batch("a")


@pytest.mark.parametrize(
    ("failure", "status", "is_later"),
    [
        (Full("full"), 429, True),
        (Unacknowledged("away"), 503, True),
        (DeadLettersUndelivered("away"), 503, True),
        (TooLarge("large"), 413, False),
    ],
)
def test_kafka_does_not_take_it(failure: Exception, status: int, is_later: bool) -> None:
    """Nothing is answered 200 without the broker; what may pass later says after how many seconds to try again."""
    gateway = Gateway()
    gateway.kafka.failure = failure
    body = BATCH if not isinstance(failure, DeadLettersUndelivered) else b'{"batch": [7]}'
    if isinstance(failure, DeadLettersUndelivered):
        gateway.kafka.deliver = _acknowledge  # type: ignore[method-assign]
    response = gateway.post(UPSERT, body)
    assert (response.status_code, "retry-after" in response.headers) == (status, is_later)
    assert response.json()["detail"]


def test_ready() -> None:
    """The gateway is ready while Kafka takes what it sends, and says why it is not; it lives all the same."""
    gateway = Gateway()
    assert gateway.ask("GET", "/ready").json() == {"status": "ok"}
    gateway.kafka.failure = Unacknowledged("away")
    refused = gateway.ask("GET", "/ready")
    assert (refused.status_code, refused.json()) == (503, {"status": "not ready", "why": "away"})
    assert gateway.ask("GET", "/health").status_code == 200


def test_a_broker_that_is_away() -> None:
    """Who asks whether the broker is there hears that it is not; many who ask at once are told of one look."""

    class Looking(AcknowledgedProducer):
        looks = 0

        def _look(self) -> str | None:
            self.looks += 1
            return super()._look()

    async def asked() -> list[str | None]:
        producer = Looking("127.0.0.1:1", "calls", {})
        try:
            said = await asyncio.gather(*[producer.why_away() for _ in range(5)])
            assert producer.looks == 1
            return said
        finally:
            producer.close()

    assert [str(one)[:21] for one in asyncio.run(asked())] == ["Kafka does not answer"] * 5


async def _acknowledge(messages: object) -> None:
    return None


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
ENCODED = {
    **{encoding: compress(BATCH) for encoding, compress in COMPRESS.items()},
    "identity": BATCH,
    "": BATCH,
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_encodings(encoding: str) -> None:
    """Bodies come as they are, or compressed in the three usual ways."""
    gateway = Gateway()
    assert gateway.post(UPSERT, ENCODED[encoding], {"content-encoding": encoding}).status_code == 200
    assert len(gateway.kafka.events()) == 1


def test_bare_deflate() -> None:
    """Deflate without zlib's frame, as some clients send it."""
    gateway = Gateway()
    bare = zlib.compressobj(wbits=-15)
    body = bare.compress(BATCH) + bare.flush()
    assert gateway.post(UPSERT, body, {"content-encoding": "deflate"}).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_broken_and_huge_encodings(encoding: str) -> None:
    """A body that does not decompress is a 400; one that decompresses beyond the limit is a 413, before it is in
    memory."""
    gateway = Gateway(limits=GatewayLimits(BodyLimits(decompressed_bytes_max=100_000)))
    headers = {"content-encoding": encoding}
    assert gateway.post(UPSERT, b"\x00\x01nothing", headers).status_code == 400
    assert gateway.post(UPSERT, ENCODED[encoding][:-9], headers).status_code == 400
    bomb = COMPRESS[encoding](b"0" * 50_000_000)
    assert gateway.post(UPSERT, bomb, headers).status_code == 413
    assert gateway.post(UPSERT, BATCH, {"content-encoding": "br"}).status_code == 415


def test_limits_of_bodies() -> None:
    """A body over the limit is a 413; one that has no room beside others a 429; room comes back after each."""
    gateway = Gateway(limits=GatewayLimits(BodyLimits(bytes_max=1_000, all_bytes_max=600)))
    for _ in range(10):
        assert gateway.post(UPSERT, b" " * 1_001).status_code == 413
        refused = gateway.post(UPSERT, b" " * 700)
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        assert gateway.post(UPSERT, BATCH + b" " * 100).status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_write_scope(scheme: str) -> None:
    """A key sends to its projects with the scope `write` only; one event of another project refuses the request."""
    writes, shown_writes = new_access_key("sdk", ["a"], 1, ["write"])
    reads, shown_reads = new_access_key("dashboard", ["a"], 1)
    keys = MemoryKeys(writes, reads)
    gateway = Gateway(KeyedWriters(KeyRing(keys, lambda: NOW_US)))
    statuses = {
        "none": gateway.post(UPSERT, BATCH).status_code,
        "wrong": gateway.post(UPSERT, BATCH, headers_of(shown_writes + "x", scheme)).status_code,
        "reads": gateway.post(UPSERT, BATCH, headers_of(shown_reads, scheme)).status_code,
        "other": gateway.post(UPSERT, batch("a", "b"), headers_of(shown_writes, scheme)).status_code,
    }
    assert statuses == {"none": 401, "wrong": 401, "reads": 403, "other": 403}
    assert not gateway.kafka.messages
    assert gateway.post(UPSERT, BATCH, headers_of(shown_writes, scheme)).status_code == 200
    keys.away = True
    away = Gateway(KeyedWriters(KeyRing(keys, lambda: NOW_US))).post(UPSERT, BATCH, headers_of(shown_writes, scheme))
    assert (away.status_code, "retry-after" in away.headers) == (503, True)


def test_no_message_smuggles_a_project() -> None:
    """A second project_id in an element, or an element of another shape, does not reach a project behind the key."""
    writes, shown = new_access_key("sdk", ["a"], 1, ["write"])
    gateway = Gateway(KeyedWriters(KeyRing(MemoryKeys(writes), lambda: NOW_US)))
    at = '"2026-06-10T00:00:00Z"'
    fields = f'"id": "c", "op_name": "op", "started_at": {at}, "ended_at": {at}, "summary": {{}}'
    for element in (
        '{"project_id": "b", "project_id": "a", %s}',
        '{"project_id": "a", "project_id": "b", %s}',
        '{"project_id": "a", "batch": [{"project_id": "b", %s}], %s}',
        '{"project_id": "a", "start": {"project_id": "b", %s}, %s}',
    ):
        body = '{"batch": [' + element.replace("%s", fields) + "]}"
        gateway.post("/v2/x/y/calls/complete", body.encode(), headers_of(shown, "Basic"))
    assert {event.project_id for event in gateway.kafka.events()} == {"a"}


def test_paths() -> None:
    """The paths that are the gateway's on the api's address are its routes, and none of the api's."""
    for path in ("/calls/stats", "/calls/usage", "/", "/health", "/docs", "/v2/a/b/calls/complete/x"):
        assert PATHS.fullmatch(path) is None, path
    for path in ("/v2/a/b/calls/complete", "/call/start", "/call/upsert_batch", "/obj/create", "/graphql"):
        assert PATHS.fullmatch(path), path


def test_wrong_path_and_method() -> None:
    """An unknown path is a 404, a GET where a POST is meant a 405, as JSON."""
    gateway = Gateway()
    assert gateway.post("/calls/delete", b"{}").status_code == 404
    wrong: Any = gateway.ask("GET", UPSERT)
    assert (wrong.status_code, "detail" in wrong.json()) == (405, True)


def test_no_broker() -> None:
    """Nothing is acknowledged without a broker, within the time that is given; what does not fit is refused at once."""

    async def delivered() -> None:
        producer = AcknowledgedProducer("127.0.0.1:1", "calls", {}, bytes_max=10_000, acknowledged_s_max=1)
        try:
            with pytest.raises(Full):
                await producer.deliver([KeyedMessage("a", b"x" * 10_000)])
            waiting = asyncio.create_task(producer.deliver([KeyedMessage("a", b"x" * 8_000)]))
            await asyncio.sleep(0)  # until it waits
            with pytest.raises(Full):
                await producer.deliver([KeyedMessage("a", b"x" * 8_000)])
            with pytest.raises(Unacknowledged):
                await waiting
            with pytest.raises(Unacknowledged):  # there is room again
                await producer.deliver([KeyedMessage("a", b"x" * 8_000)])
        finally:
            producer.close()

    asyncio.run(delivered())
