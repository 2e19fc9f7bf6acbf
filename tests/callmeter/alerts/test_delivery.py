"""Deliveries arrive once, in order, over refusals, a Redis that is away, and couriers that lost the lease."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
import redis

from aggregator.time_units import SECOND_US
from callmeter.alerts.delivery import BACKOFF_S_MAX, DELIVERY_AGE_S_MAX, Courier, backoff_s
from callmeter.alerts.episodes import Event
from callmeter.alerts.notifications import Delivery
from callmeter.alerts.receivers import AlertmanagerReceiver, WebhookReceiver
from tests.callmeter.alerts.webhooks import WebhookServer
from tests.pipeline.patience import wait_until

PATIENCE_S = 20.0
RESEND_S = 0.05
AT_US = 1_800_000_000 * SECOND_US


class MemoryOutbox:
    """An outbox that a token of its own may touch; it may be away for some calls."""

    def __init__(self, *ids: str) -> None:
        self.token = "t:1"
        self.there = set(ids)
        self.noted: list[bool] = []
        self.away = 0

    def begin_attempt(self, token: str, delivery_id: str, record: bytes) -> bool:
        return token == self.token and delivery_id in self.there

    def note(self, delivery_id: str, record: bytes) -> None:
        self.noted.append(msgspec.json.decode(record, type=Delivery).is_sent)

    def delivered(self, delivery_id: str) -> None:
        if self.away:
            self.away -= 1
            raise redis.ConnectionError("away")
        self.there.discard(delivery_id)


def delivery(delivery_id: str, queued_us: int = AT_US) -> Delivery:
    """Returns a delivery of an alert that fires."""
    return Delivery(delivery_id, 1, "hook", Event.FIRING, "e", {"alertname": "a"}, {}, AT_US, None, queued_us)


@contextmanager
def courier(url: str, outbox: MemoryOutbox, **of_receiver: object) -> Iterator[Courier]:
    """Returns a courier that delivers to a webhook."""
    receiver = WebhookReceiver.model_validate({"name": "hook", "type": "webhook", "url": url} | of_receiver)
    found = Courier(receiver, outbox, lambda: AT_US, time.monotonic)
    found.start()
    yield found
    found.stop(PATIENCE_S)


def test_refusals_are_tried_again_in_order() -> None:
    """A delivery that is refused for now comes first again; one that never will be taken is given up."""
    with WebhookServer(500, 429) as hook:
        outbox = MemoryOutbox("a", "b")
        with courier(hook.url, outbox) as delivering:
            delivering.begin("t:1", [delivery("a"), delivery("b")])
            assert wait_until(lambda: not outbox.there, PATIENCE_S)
        assert [one.delivery_id for one in hook.refused] == ["a", "a"]
        assert [one.delivery_id for one in hook.taken] == ["a", "b"]
    with WebhookServer(400) as hook:
        outbox = MemoryOutbox("a", "b")
        with courier(hook.url, outbox) as delivering:
            delivering.begin("t:1", [delivery("a"), delivery("b")])
            assert wait_until(lambda: not outbox.there, PATIENCE_S)
        assert [one.delivery_id for one in hook.taken] == ["b"]


def test_redis_away_after_it_arrived() -> None:
    """A delivery that has arrived is not sent again, also where a new term finds it in the outbox."""
    with WebhookServer() as hook:
        outbox = MemoryOutbox("a", "b")
        outbox.away = 2
        with courier(hook.url, outbox) as delivering:
            delivering.begin("t:1", [delivery("a")])
            assert wait_until(lambda: outbox.away < 2, PATIENCE_S)
            delivering.begin("t:1", [delivery("a"), delivery("b")])
            assert wait_until(lambda: not outbox.there, PATIENCE_S)
        assert [one.delivery_id for one in hook.taken] == ["a", "b"]


@pytest.mark.parametrize(("idempotent", "told"), [(False, ["b"]), (True, ["a", "b"])])
def test_what_was_on_its_way_when_its_process_died(idempotent: bool, told: list[str]) -> None:
    """A notification that a process before had sent goes again only to a receiver that makes one of two."""
    with WebhookServer() as hook:
        outbox = MemoryOutbox("a", "b")
        with courier(hook.url, outbox, idempotent=idempotent) as delivering:
            on_its_way = msgspec.structs.replace(delivery("a"), attempts=1, is_sent=True)
            delivering.begin("t:1", [on_its_way, delivery("b")])
            assert wait_until(lambda: not outbox.there, PATIENCE_S)
        assert [one.delivery_id for one in hook.taken] == told


def test_what_was_not_taken_is_not_on_its_way() -> None:
    """A first attempt is noted as sent before its answer is there, and as not sent once it is refused; a later one is
    not noted, since a receiver that refused may do so again."""
    with WebhookServer(500) as hook:
        outbox = MemoryOutbox("a", "b")
        with courier(hook.url, outbox) as delivering:
            delivering.begin("t:1", [delivery("a"), delivery("b")])
            assert wait_until(lambda: not outbox.there, PATIENCE_S)
        assert outbox.noted == [True, False, True]
        assert [one.delivery_id for one in hook.taken] == ["a", "b"]


def test_what_never_went_out_is_sent() -> None:
    """A notification is not on its way where nobody listens."""
    with WebhookServer() as hook:
        url = hook.url
    outbox = MemoryOutbox("a")
    with courier(url, outbox) as delivering:
        delivering.begin("t:1", [delivery("a")])
        assert wait_until(lambda: bool(outbox.noted), PATIENCE_S)
    assert not any(outbox.noted)
    assert outbox.there


def test_without_the_lease_nothing_is_sent() -> None:
    """Another process holds it, or has delivered already: what was to be sent is forgotten."""
    with WebhookServer() as hook:
        outbox = MemoryOutbox("a", "b")
        outbox.token = "other:2"
        with courier(hook.url, outbox) as delivering:
            delivering.begin("t:1", [delivery("a")])
            assert wait_until(lambda: not delivering.waiting, PATIENCE_S)
            outbox.token = "t:3"
            delivering.begin("t:3", [delivery("gone"), delivery("b")])
            assert wait_until(lambda: not delivering.waiting, PATIENCE_S)
        assert [one.delivery_id for one in hook.taken] == ["b"]


def test_old_news_is_given_up() -> None:
    """A day later nobody is woken."""
    with WebhookServer() as hook:
        outbox = MemoryOutbox("old", "new")
        old_us = AT_US - (DELIVERY_AGE_S_MAX + 1) * SECOND_US
        with courier(hook.url, outbox) as delivering:
            delivering.begin("t:1", [delivery("old", old_us), delivery("new")])
            assert wait_until(lambda: not outbox.there, PATIENCE_S)
        assert [one.delivery_id for one in hook.taken] == ["new"]


def test_an_alertmanager_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Alertmanager is told again and again of an alert that fires, until it does not any more."""
    monkeypatch.setattr("callmeter.alerts.delivery.RESEND_S", RESEND_S)
    with WebhookServer() as hook:
        receiver = AlertmanagerReceiver.model_validate({"name": "am", "type": "alertmanager", "url": hook.url})
        delivering = Courier(receiver, MemoryOutbox(), lambda: AT_US, time.monotonic)
        delivering.start()
        delivering.begin("t:1", [])
        delivering.hold([delivery("a")])
        assert wait_until(lambda: len(hook.taken) >= 3, PATIENCE_S)
        delivering.hold([])
        told = len(hook.taken)
        time.sleep(10 * RESEND_S)
        delivering.stop(PATIENCE_S)
        assert len(hook.taken) <= told + 1  # one may have been on its way
        assert {one.path for one in hook.taken} == {"/api/v2/alerts"}


def test_backoff() -> None:
    """A delivery is tried at once, then with twice the pause each time, up to a minute."""
    assert [backoff_s(one) for one in range(5)] == [0, 0.5, 1, 2, 4]
    assert backoff_s(1_000) == BACKOFF_S_MAX
