"""The model of Redis is honest: whatever is asked of a shard's store, the real one and the model do the same."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.layout.keys import VERSION_BYTES, ShardKeys, ShardName
from aggregator.layout.write import ShardWrite
from aggregator.store.shard_store import Fenced, ShardStore, StoreFull
from aggregator.store.transaction import Command
from tests.protocol.memory_redis import MemoryRedis
from tests.protocol.memory_store import Fault, MemoryStore

pytestmark = pytest.mark.single_redis  # the model is one of a single server

SHARD = ShardName("contract", "calls", 0)
PAST_UNIX_S, FUTURE_UNIX_S = 1_000_000_000, 4_000_000_000


class Server(NamedTuple):
    """A Redis: a writer's store, one that is overtaken by `action` between look and write, all keys, and a full one."""

    writer: Callable[[], ShardStore]
    overtaken: Callable[[Callable[[], None]], ShardStore]
    dump: Callable[[], dict[bytes, Any]]
    full: Callable[[], AbstractContextManager[ShardStore]]


def real_server(url: str) -> Server:
    """An empty one."""
    client: Any = redis.Redis.from_url(url)
    client.flushall()

    def overtaken(action: Callable[[], None]) -> ShardStore:
        class Overtaken(ShardStore):
            """Lets another act between a transaction's WATCH and its MULTI."""

            def _commands(self, write: ShardWrite, fence: bytes | None) -> Iterator[Command]:
                action()
                yield from super()._commands(write, fence)

        return Overtaken(client, SHARD)

    def dump() -> dict[bytes, Any]:
        kinds = {b"hash": client.hgetall, b"string": client.get, b"set": client.smembers, b"zset": _names}
        return {key: (kinds[client.type(key)](key), expiry(key)) for key in client.scan_iter()}

    def expiry(key: bytes) -> int:
        # Sets of projects expire by Redis' clock, which the model does not have.
        return 0 if b":project:" in key else max(client.expiretime(key), 0)

    def _names(key: bytes) -> set[bytes]:
        return {name for name, score in client.zrange(key, 0, -1, withscores=True) if score == 0}

    @contextmanager
    def full() -> Iterator[ShardStore]:
        client.config_set("maxmemory", 1)
        try:
            yield ShardStore(client, SHARD)
        finally:
            client.config_set("maxmemory", 0)

    return Server(lambda: ShardStore(client, SHARD), overtaken, dump, full)


def model_server(url: str) -> Server:
    """An empty one."""
    del url
    server = MemoryRedis(lambda: int(time.time()))

    def overtaken(action: Callable[[], None]) -> ShardStore:
        def before(command: str) -> None:
            if command == "exec":
                action()

        return MemoryStore(server, SHARD, before)

    def dump() -> dict[bytes, Any]:
        return {key: (value, server.state.expiries.get(key, 0)) for key, value in server.state.keys.items()}

    @contextmanager
    def full() -> Iterator[ShardStore]:
        yield MemoryStore(server, SHARD, lambda command: Fault.FULL if command in ("exec", "register") else None)

    return Server(lambda: MemoryStore(server, SHARD), overtaken, dump, full)


@pytest.fixture(params=[real_server, model_server], ids=["Redis", "model"])
def server(request: pytest.FixtureRequest, redis_url: str) -> Server:
    made: Server = request.param(redis_url)
    return made


def fields(**values: int) -> ShardWrite:
    """Returns a write that sets fields of one hash."""
    return ShardWrite(fields={"h": dict(values)})  # type: ignore[dict-item]


@pytest.mark.parametrize(("stored", "expected"), [(None, 0), (5, None), (5, 4), (5, 6)])
def test_other_offsets_are_refused(server: Server, stored: int | None, expected: int | None) -> None:
    """A batch that does not begin at the stored next offset writes nothing."""
    server.writer().apply(None, stored, ShardWrite())
    before = server.dump()
    with pytest.raises(Fenced):
        server.writer().apply(expected, 9, fields(a=1))
    assert server.dump() == before


@pytest.mark.parametrize("offset", [3, 4])
def test_overtaken_between_look_and_write(server: Server, offset: int) -> None:
    """The second writer is refused, even where the first one left the offset as it was."""
    server.writer().apply(None, 3, ShardWrite())
    store = server.overtaken(lambda: server.writer().apply(3, offset, fields(a=1)))
    with pytest.raises(Fenced):
        store.apply(3, 5, fields(a=2))
    assert server.dump()[b"h"] == ({b"a": b"1"}, 0)
    assert server.writer().next_offset() == offset


def test_reads_of_another_state_are_refused(server: Server) -> None:
    """Once a writer knows where it continues, it reads nothing of what others have applied since."""
    store = server.writer()
    assert store.next_offset() is None
    store.apply(None, 3, fields(a=1))
    assert store.read_fields({"h": ["a"]}) == {"h": [b"1"]}
    server.writer().apply(3, 4, fields(a=2))
    for read in (lambda: store.read_fields({"h": ["a"]}), lambda: store.read_hashes(["h"]), store.shard_fields):
        with pytest.raises(Fenced):
            read()
    assert store.next_offset() == 4
    assert store.read_hashes(["h"]) == [{b"a": b"2"}]


def test_full(server: Server) -> None:
    """Nothing is written without memory."""
    with server.full() as store:
        with pytest.raises(StoreFull):
            store.apply(None, 1, fields(a=1))
        with pytest.raises(StoreFull):
            store.register({"a": 1_000})
        assert store.next_offset() is None
    assert server.dump() == {}


# Few of each, so that operations meet.
HASHES, NAMES = ("h", b"i"), (b"a", b"b", "c")
OFFSETS = (None, 0, 3)
expiring = (*HASHES, "z", "versions", "absent")
# Of slots that versions are drawn for, and of one that none are.
starts = st.dictionaries(st.integers(0, 3), st.sampled_from((0, 9, 1_772_532_059_000_001)))
writes = st.builds(
    ShardWrite,
    st.dictionaries(st.sampled_from(HASHES), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), min_size=1)),
    st.dictionaries(st.sampled_from(HASHES), st.lists(st.sampled_from(NAMES), min_size=1)),
    st.lists(st.sampled_from(HASHES), max_size=1),
    st.dictionaries(st.just("z"), st.lists(st.sampled_from((b"r", b"s")), min_size=1)),
    st.dictionaries(st.just("versions"), st.sets(st.integers(0, 2), min_size=1)),
    st.dictionaries(st.sampled_from(("calls", "events")), st.integers(1, 3)),
    st.dictionaries(st.sampled_from(expiring), st.sampled_from((PAST_UNIX_S, FUTURE_UNIX_S, FUTURE_UNIX_S + 1))),
    st.dictionaries(st.just("versions"), starts),
)


def but_drawn(dump: dict[bytes, Any]) -> dict[bytes, Any]:
    """A dump with how long versions and sessions are in place of these, which are random, and what is behind them."""
    drawn = [key for key in dump if key in (b"versions", ShardKeys(SHARD).writer.encode())]
    return dump | {
        key: ({name: (len(value), value[VERSION_BYTES:]) for name, value in dump[key][0].items()}, dump[key][1])
        for key in drawn
    }


class Operation(NamedTuple):
    """A method of a store, and its arguments."""

    name: str
    arguments: tuple[Any, ...] = ()

    def outcome(self, store: ShardStore) -> object:
        """Returns what the operation returns, or that it is refused."""
        try:
            return getattr(store, self.name)(*self.arguments)
        except Fenced:
            return Fenced


def calls_of(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    """A method, called with any such arguments."""
    return st.builds(Operation, st.just(name), st.tuples(*arguments))


operations = st.one_of(
    calls_of("apply", st.sampled_from(OFFSETS), st.sampled_from(OFFSETS[1:]), writes),
    calls_of("apply", st.none(), st.none(), writes),
    calls_of("read_fields", st.dictionaries(st.sampled_from(HASHES), st.lists(st.sampled_from(NAMES), min_size=1))),
    calls_of("read_hashes", st.just(HASHES)),
    calls_of("scan_fields", st.sampled_from(HASHES), st.just(0), st.just(1_000)),
    calls_of("register", st.dictionaries(st.sampled_from(("p", "q")), st.integers(1_000, 2_000))),
    calls_of("next_offset"),
    calls_of("shard_fields"),
)


real_and_model = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@real_and_model
@given(st.lists(writes, max_size=8))
def test_writes_are_the_same(redis_url: str, batches: list[ShardWrite]) -> None:
    """Whatever batches are written one after the other, the same keys and expiries come of it."""
    real, model = real_server(redis_url), model_server(redis_url)
    for server in (real, model):
        for at, write in enumerate(batches):
            server.writer().apply(at - 1 if at else None, at, write)
    assert but_drawn(model.dump()) == but_drawn(real.dump())


@real_and_model
@given(st.lists(st.tuples(st.sampled_from([0, 1]), operations), max_size=12))
def test_model_does_what_redis_does(redis_url: str, steps: list[tuple[int, Operation]]) -> None:
    """Two writers do whatever they like: the same answers, the same refusals, the same keys and expiries."""
    real, model = real_server(redis_url), model_server(redis_url)
    pairs = [(real.writer(), model.writer()) for _ in range(2)]
    for writer, operation in steps:
        real_store, model_store = pairs[writer]
        assert operation.outcome(model_store) == operation.outcome(real_store)
        assert but_drawn(model.dump()) == but_drawn(real.dump())
