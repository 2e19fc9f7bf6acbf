"""`callmeter alerts run`: each second all rules are looked at, what changes is stored, and who has to know is told."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from aggregator.store.alert_store import AlertStore, KeptAlerts
from aggregator.store.connection import StoreTrouble
from callmeter.alerts.deciding import (
    Decision,
    EpisodeEvent,
    Episodes,
    Key,
    Look,
    decide,
    deliveries_of,
    firing_for,
    is_news,
    key_of,
    to_write,
)
from callmeter.alerts.delivery import Courier
from callmeter.alerts.episodes import Episode, Event
from callmeter.alerts.lease import Lease
from callmeter.alerts.notifications import Delivery
from callmeter.alerts.reading import ApiReading
from callmeter.alerts.rule_file import RulesWrong, read_rule_file
from callmeter.alerts.rules import RuleFile
from callmeter.alerts.showing import shown_rules
from callmeter.alerts.wording import annotations_of, labels_of

log = logging.getLogger(__name__)

EVERY_S = 1.0
# While another process evaluates: how long after it is gone this one begins.
STANDBY_S = 0.2
# Questions under way at once; more would only keep others of the api waiting.
ASKING_AT_ONCE = 4
STOP_S = 5.0
# What is shown to who asks the api is said again after so long where nothing changes; it is kept for some times that.
SHOW_AGAIN_S = 5.0

_decode_episode = msgspec.json.Decoder(Episode).decode
_decode_delivery = msgspec.json.Decoder(Delivery).decode


class RulesOfFile:
    """The rules of a file, read again when it changes; a change for the worse is told and not taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = self._stamped()
        self.rules: RuleFile = read_rule_file(path)

    def renew(self) -> bool:
        """Read the file again if it has changed; whether there are other rules now."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.rules = read_rule_file(self.path)
        except RulesWrong as wrong:
            log.error("the file of rules is wrong; the rules from before stay", extra={"why": str(wrong)})
            return False
        log.info("the rules have changed", extra={"rules": len(self.rules.rules)})
        return True

    def _stamped(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)


class Alerter:
    """Evaluates while it holds the lease. `clock`: microseconds since 1970; `elapsed`: seconds."""

    def __init__(
        self,
        rules: RulesOfFile,
        reading: ApiReading,
        store: AlertStore,
        clock: Callable[[], int],
        elapsed: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._reading = reading
        self._store = store
        self._clock = clock
        self._elapsed = elapsed
        self._lease = Lease(store, elapsed)
        self._couriers: dict[str, Courier] = {}
        self._token: str | None = None
        self._episodes: dict[Key, Episode] = {}
        self._stored: dict[Key, Episode] = {}
        self._shown_s = -SHOW_AGAIN_S
        self._asking = ThreadPoolExecutor(ASKING_AT_ONCE, "asking")
        self._hire()

    def run(self, stopping: threading.Event) -> None:
        """Evaluate until told to stop; then deliver what can be at once, and let another one begin."""
        self._lease.start()
        while not stopping.is_set():
            began_s = self._elapsed()
            try:
                is_holder = self.tick()
            except StoreTrouble as away:
                # What was written is not known: read again what is there before anything is decided.
                self._token = None
                is_holder = False
                log.warning("Redis does not answer; alerts wait", extra={"why": str(away)})
            stopping.wait(max(0.0, EVERY_S - (self._elapsed() - began_s)) if is_holder else STANDBY_S)
        for courier in self._couriers.values():
            courier.stop(STOP_S)
        self._lease.stop()
        self._asking.shutdown(cancel_futures=True)

    def tick(self) -> bool:
        """One look at all rules, if this process is the one that evaluates; whether it is. Raises StoreTrouble."""
        if self._rules.renew():
            self._hire()
            self._token = None  # deliveries go to whom the file names now
        token = self._lease.token
        if token is None:
            if self._token is not None:
                self._give_up()
            return False
        if token != self._token:
            self._take_over(token)
        file, now_us = self._rules.rules, self._clock()
        projects = list(dict.fromkeys(rule.project for rule in file.rules))
        as_of = dict(zip(projects, self._asking.map(self._reading.as_of_us, projects), strict=True))
        looks = list(self._asking.map(lambda rule: self._reading.look(rule, as_of[rule.project], now_us), file.rules))
        before = self._episodes
        self._change(token, decide(file, self._episodes, looks, now_us), now_us)
        self._show(token, looks, before)
        return True

    def _show(self, token: str, looks: Sequence[Look], before: Episodes) -> None:
        """Tell the api of rules and alerts when there are others, and now and then."""
        now_s = self._elapsed()
        states = [{key: (one.fired_us, one.told_us) for key, one in of.items()} for of in (before, self._episodes)]
        if states[0] == states[1] and now_s - self._shown_s < SHOW_AGAIN_S:
            return
        self._store.show(token, shown_rules(self._rules.path.name, EVERY_S, looks, self._episodes))
        self._shown_s = now_s

    def _change(self, token: str, decided: Decision, now_us: int) -> None:
        """Store what was decided together with what is to be delivered, then deliver it."""
        deliveries: list[Delivery] = []
        for told in decided.told:
            episode = self._worded(told) if told.event is Event.FIRING else told.episode
            if told.key in decided.episodes:
                decided.episodes[told.key] = episode
            deliveries += deliveries_of(told._replace(episode=episode), now_us * 1_000 + len(deliveries), now_us)
        writes = to_write(self._stored, decided.episodes)
        if writes or deliveries:
            records = [(one.id, msgspec.json.encode(one)) for one in deliveries]
            if not self._store.change(token, writes, records):
                return self._give_up()
        self._episodes = decided.episodes
        self._stored = {
            key: episode if is_news(self._stored.get(key), episode) else self._stored[key]
            for key, episode in decided.episodes.items()
        }
        for told in decided.told:
            _say(told)
        self._hand_out(deliveries, now_us)
        return None

    def _worded(self, told: EpisodeEvent) -> Episode:
        """An episode with all that is said of it from now on."""
        rule, group = told.rule, told.key[2]
        assert rule is not None
        examples = self._reading.examples(rule, group, told.at_us)
        return msgspec.structs.replace(
            told.episode,
            labels=labels_of(rule, group),
            annotations=annotations_of(rule, group, told.seen, told.at_us, examples, self._rules.rules.page),
            receivers=self._rules.rules.receivers_of(rule),
        )

    def _hand_out(self, deliveries: Iterable[Delivery], now_us: int) -> None:
        by_receiver: dict[str, list[Delivery]] = {}
        for one in deliveries:
            by_receiver.setdefault(one.receiver, []).append(one)
        for name, courier in self._couriers.items():
            courier.offer(by_receiver.get(name, []))
            courier.hold(firing_for(name, self._episodes, now_us))

    def _take_over(self, token: str) -> None:
        """Read what the one before has left, and go on with it."""
        kept: KeptAlerts = self._store.read()
        self._episodes = {key_of(field): _decode_episode(record) for field, record in kept.episodes.items()}
        self._stored = dict(self._episodes)
        deliveries = sorted(map(_decode_delivery, kept.deliveries.values()), key=lambda one: one.number)
        for one in deliveries:
            if one.receiver not in self._couriers:
                log.warning("a notification is given up: its receiver is gone", extra={"receiver": one.receiver})
                self._store.delivered(one.id)
        for name, courier in self._couriers.items():
            courier.begin(token, [one for one in deliveries if one.receiver == name])
        self._token = token
        log.info("alerts go on", extra={"episodes": len(self._episodes), "undelivered": len(deliveries)})

    def _give_up(self) -> None:
        """Another process evaluates: nothing that is known here counts any more."""
        self._token = None
        self._episodes, self._stored = {}, {}
        for courier in self._couriers.values():
            courier.begin(None, ())

    def _hire(self) -> None:
        """A courier for each receiver of the file."""
        wanted = {one.name: one for one in self._rules.rules.receivers}
        for name in [name for name in self._couriers if name not in wanted]:
            self._couriers.pop(name).begin(None, ())
        for name, receiver in wanted.items():
            if name in self._couriers:
                self._couriers[name].receiver = receiver
            else:
                self._couriers[name] = Courier(receiver, self._store, self._clock, self._elapsed)
                self._couriers[name].start()


def _say(told: EpisodeEvent) -> None:
    rule, project, group = told.key
    value = told.seen.value
    fields = {"is": told.event.value, "rule": rule, "project": project, "group": group, "value": value}
    log.info("alert", extra=fields)
