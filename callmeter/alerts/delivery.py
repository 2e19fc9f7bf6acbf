"""Brings notifications to receivers: each receiver's in order, on a thread of its own, tried until they arrive.

A delivery is noted in Redis before each attempt, again as soon as a first attempt is on its way, and forgotten when it
has arrived. So after a crash it is known what was not sent. What was sent without an answer goes again, under its id,
only to receivers that make one of two.
"""

import http.client
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from aggregator.store.connection import StoreTrouble
from aggregator.time_units import SECOND_US
from callmeter.alerts.notifications import (
    ALERTMANAGER_HOLDS_S,
    Delivery,
    HttpRequest,
    alertmanager_request,
    request_of,
)
from callmeter.alerts.receivers import AlertmanagerReceiver, Receiver

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 5.0
# Between attempts: as long again each time, so that a receiver that comes back hears within a minute.
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 60.0
# News of yesterday wake nobody: what could not be delivered for so long is given up, with a line in the log.
DELIVERY_AGE_S_MAX = 86_400
RESEND_S = ALERTMANAGER_HOLDS_S / 3
# Answers that say the same body will never be taken.
REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})


class NotTaken(Exception):
    """A receiver did not take a notification; `for_good`: nor will it."""

    def __init__(self, why: str, for_good: bool) -> None:
        super().__init__(why)
        self.for_good = for_good


class Outbox(Protocol):
    """Where deliveries are kept until they have arrived; see AlertStore."""

    def begin_attempt(self, token: str, delivery_id: str, record: bytes) -> bool:
        """Note that a delivery is about to be tried; False: it is not ours, or has arrived."""
        ...

    def note(self, delivery_id: str, record: bytes) -> None:
        """Note what is known of a delivery, as long as it has not arrived."""
        ...

    def delivered(self, delivery_id: str) -> None:
        """Note that the notification has arrived."""
        ...


Sent = Callable[[], None]
"""What is called when a request is on its way, and its answer not there yet."""


class _OverHttp(urllib.request.HTTPHandler):
    def __init__(self, sent: Sent) -> None:
        super().__init__()
        self._sent = sent

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_telling(http.client.HTTPConnection, self._sent), req)


class _OverHttps(urllib.request.HTTPSHandler):
    def __init__(self, sent: Sent) -> None:
        super().__init__()
        self._sent = sent

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_telling(http.client.HTTPSConnection, self._sent), req)


def _telling(connection: type[http.client.HTTPConnection], sent: Sent) -> Any:
    """Return a class of connections that say when all of a request has been handed to the system."""

    class Telling(connection):  # type: ignore[valid-type, misc]
        def getresponse(self) -> Any:
            sent()
            return super().getresponse()

    return Telling


def post(request: HttpRequest, sent: Sent) -> None:
    """Send it. Raises NotTaken."""
    try:
        asked = urllib.request.Request(request.url, request.body, request.headers)
        opener = urllib.request.build_opener(_OverHttp(sent), _OverHttps(sent))
        with opener.open(asked, timeout=SEND_TIMEOUT_S) as response:
            response.read()
    except urllib.error.HTTPError as refused:
        with refused:
            said = refused.read(200).decode(errors="replace")
            raise NotTaken(f"it answered {refused.code}: {said}", refused.code in REFUSED) from None
    except (OSError, ValueError, http.client.HTTPException) as away:
        raise NotTaken(str(getattr(away, "reason", away)), False) from None


def backoff_s(failures: int) -> float:
    """How long to wait after so many attempts in a row that failed."""
    return min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** (min(failures, 20) - 1)) if failures else 0.0


class Courier:
    """Delivers to one receiver. `clock`: microseconds since 1970; `elapsed`: seconds."""

    def __init__(
        self,
        receiver: Receiver,
        outbox: Outbox,
        clock: Callable[[], int],
        elapsed: Callable[[], float],
        send: Callable[[HttpRequest, Sent], None] = post,
    ) -> None:
        self.receiver = receiver
        self._outbox = outbox
        self._clock = clock
        self._elapsed = elapsed
        self._send = send
        self._changed = threading.Condition()
        self._queue: list[Delivery] = []
        self._arrived: list[str] = []
        self._firing: Sequence[Delivery] = ()
        self._token: str | None = None
        self._failures = 0
        self._not_before_s = 0.0
        self._resend_at_s = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"to {receiver.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def begin(self, token: str | None, deliveries: Sequence[Delivery]) -> None:
        """Go on with what a new holder found in the outbox; None: another one holds, deliver nothing."""
        with self._changed:
            self._token = token
            self._queue = list(deliveries)
            self._firing = ()
            self._resend_at_s = 0.0
            self._changed.notify()

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver these after what is there."""
        with self._changed:
            self._queue += deliveries
            self._changed.notify()

    def hold(self, firing: Sequence[Delivery]) -> None:
        """Return what fires now: an Alertmanager is told again and again, lest it takes it for over."""
        if isinstance(self.receiver, AlertmanagerReceiver):
            with self._changed:
                self._firing = firing

    def stop(self, timeout_s: float) -> None:
        """Deliver what can be at once, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)

    @property
    def waiting(self) -> int:
        """How many deliveries have not arrived."""
        return len(self._queue)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping and (not self._queue or self._failures or self._token is None):
                    return
                wait_s = self._wait_s()
                if wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                delivery = self._queue[0] if self._queue and self._token is not None else None
                token, firing = self._token, self._firing
            try:
                self._forget_arrived()
                if token is not None and delivery is not None:
                    self._try(token, delivery)
                elif token is not None and firing:
                    self._resend(firing)
                self._failures = 0
            except (NotTaken, ValueError, *StoreTrouble) as trouble:
                self._failures += 1
                self._not_before_s = self._elapsed() + backoff_s(self._failures)
                log.warning(
                    "a notification did not arrive; it is tried again",
                    extra={"receiver": self.receiver.name, "why": str(trouble), "failures": self._failures},
                )

    def _wait_s(self) -> float:
        """How long there is nothing to do; 0: there is something."""
        now_s = self._elapsed()
        if self._failures and now_s < self._not_before_s:
            return self._not_before_s - now_s
        if self._arrived or (self._queue and self._token is not None):
            return 0.0
        if self._firing and self._token is not None:
            return max(0.0, self._resend_at_s - now_s)
        return 1.0

    def _try(self, token: str, delivery: Delivery) -> None:
        age_s = (self._clock() - delivery.queued_us) / SECOND_US
        if age_s > DELIVERY_AGE_S_MAX:
            log.error("a notification is given up: it is too old", extra=_fields(delivery))
            return self._arrive(delivery)
        if delivery.is_sent and not self.receiver.makes_one_of_two:
            log.warning(
                "a notification was sent when its process ended; it is taken for arrived", extra=_fields(delivery)
            )
            return self._arrive(delivery)
        tried = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1, is_sent=False)
        if not self._outbox.begin_attempt(token, delivery.id, msgspec.json.encode(tried)):
            return self._drop(delivery)
        self._keep(tried)
        # A receiver that did not take it before may not now: then what was sent is no sign that it arrived.
        is_sign = not delivery.attempts and not self._failures
        try:
            self._send(
                request_of(self.receiver, delivery, self._clock()),
                lambda: self._note(msgspec.structs.replace(tried, is_sent=True)) if is_sign else None,
            )
        except NotTaken as refused:
            if not refused.for_good:
                if is_sign:
                    self._note(tried)
                    self._keep(tried)  # a new term may have read it as sent meanwhile
                raise
            log.error("a notification is refused and given up", extra=_fields(delivery) | {"why": str(refused)})
            return self._arrive(delivery)
        log.info("notified", extra=_fields(delivery))
        return self._arrive(delivery)

    def _resend(self, firing: Sequence[Delivery]) -> None:
        assert isinstance(self.receiver, AlertmanagerReceiver)
        self._send(alertmanager_request(self.receiver, firing, self._clock()), lambda: None)
        self._resend_at_s = self._elapsed() + RESEND_S

    def _arrive(self, delivery: Delivery) -> None:
        self._drop(delivery)
        self._arrived.append(delivery.id)
        self._forget_arrived()

    def _forget_arrived(self) -> None:
        """Take what has arrived out of the outbox; while Redis is away it is remembered here."""
        while self._arrived:
            self._outbox.delivered(self._arrived[0])
            with self._changed:
                self._arrived.pop(0)

    def _note(self, delivery: Delivery) -> None:
        """Note what is known of it, if Redis is there: what is on its way is not called back."""
        with suppress(*StoreTrouble):
            self._outbox.note(delivery.id, msgspec.json.encode(delivery))

    def _drop(self, delivery: Delivery) -> None:
        with self._changed:
            self._queue = [one for one in self._queue if one.id != delivery.id]

    def _keep(self, tried: Delivery) -> None:
        with self._changed:
            self._queue = [tried if one.id == tried.id else one for one in self._queue]


def _fields(delivery: Delivery) -> dict[str, object]:
    return {
        "receiver": delivery.receiver,
        "status": delivery.event.value,
        "alert": delivery.labels.get("alertname"),
        "delivery": delivery.id,
        "attempts": delivery.attempts + 1,
    }
