"""What alerts keep: one holder at a time, whose writes alone are taken."""

from aggregator.layout.keys import alert_keys
from aggregator.layout.shown_rules import SHOWN_MS, ShownRules, decode_shown
from aggregator.store.alert_store import AlertStore
from aggregator.store.connection import connect


def test_one_holds_the_lease(redis_url: str) -> None:
    """One process holds the lease until it gives it back or is gone; each term has another token."""
    client = connect(redis_url)
    store = AlertStore(client, "callmeter")
    token = store.take_lease("a")
    assert token is not None
    assert store.take_lease("b") is None
    assert store.take_lease("a") is None
    assert store.renew_lease(token)
    assert 0 < client.pttl(alert_keys("callmeter")[0]) <= 2_000
    store.give_lease_back("b:1")
    assert store.renew_lease(token)
    store.give_lease_back(token)
    again = store.take_lease("a")
    assert again is not None
    assert again != token
    assert not store.renew_lease(token)


def test_writes_are_fenced(redis_url: str) -> None:
    """Neither episodes nor deliveries change without the token of the present term, nor does an attempt begin."""
    store = AlertStore(connect(redis_url), "callmeter")
    old = store.take_lease("a")
    assert old is not None
    assert store.change(old, {"e": b"1", "f": b"2"}, [("d", b"x")])
    store.give_lease_back(old)
    assert not store.change(old, {"e": b"9"}, [("z", b"x")])
    assert not store.begin_attempt(old, "d", b"y")
    token = store.take_lease("b")
    assert token is not None
    assert not store.change(old, {"e": None}, [])
    assert store.read() == ({"e": b"1", "f": b"2"}, {"d": b"x"})
    assert store.begin_attempt(token, "d", b"y")
    assert store.change(token, {"e": None, "f": b"3"}, [])
    assert store.read() == ({"f": b"3"}, {"d": b"y"})
    store.note("d", b"n")
    assert store.read() == ({"f": b"3"}, {"d": b"n"})
    store.delivered("d")
    store.note("d", b"n")
    assert not store.begin_attempt(token, "d", b"z")
    assert store.read() == ({"f": b"3"}, {})


def test_many_at_once(redis_url: str) -> None:
    """A storm of a thousand episodes is one change."""
    store = AlertStore(connect(redis_url), "callmeter")
    token = store.take_lease("a")
    assert token is not None
    episodes: dict[str, bytes | None] = {str(number): b"e" * 500 for number in range(5_000)}
    assert store.change(token, episodes, [(str(number), b"d") for number in range(5_000)])
    assert [len(kept) for kept in store.read()] == [5_000, 5_000]


def test_what_is_shown_is_fenced_and_goes_by_itself(redis_url: str) -> None:
    """Only the holder shows rules, and for a while after it is gone."""
    client = connect(redis_url)
    store = AlertStore(client, "callmeter")
    token = store.take_lease("a")
    assert token is not None
    shown = ShownRules("alerts.yaml", 1.0, ())
    assert not store.show("another", shown)
    *_, key = alert_keys("callmeter")
    assert not client.exists(key)
    assert store.show(token, shown)
    assert 0 < client.pttl(key) <= SHOWN_MS
    assert decode_shown(client.get(key)) == shown  # type: ignore[arg-type]
