"""What alerts keep in Redis: who evaluates them, their episodes, and what is to be delivered; each change fenced.

One process at a time holds a lease; its token carries a term that no other ever has. Every write says the token and is
refused without it, so a process that was paused while another took over can change nothing, nor begin a delivery.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis

from aggregator.layout.keys import alert_keys
from aggregator.layout.shown_rules import SHOWN_MS, ShownRules, encode_shown

# How long a holder that is gone is waited for; it renews several times within.
LEASE_MS = 2_000

# KEYS: lease, term. ARGV: name of the process, milliseconds.
_TAKE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local token = ARGV[1] .. ':' .. redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return token
"""
# KEYS: lease. ARGV: token, milliseconds; without them it is given back.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) else redis.call('DEL', KEYS[1]) end
return 1
"""
# KEYS: lease, episodes, outbox. ARGV: token, how many episodes, a field and a value of each ("" for none any more),
# then id and record of each delivery.
_CHANGE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local episodes = tonumber(ARGV[2])
for i = 3, 2 + 2 * episodes, 2 do
  local field, record = ARGV[i], ARGV[i + 1]
  if record == '' then redis.call('HDEL', KEYS[2], field) else redis.call('HSET', KEYS[2], field, record) end
end
for i = 3 + 2 * episodes, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
return 1
"""
# KEYS: lease, outbox. ARGV: token, id, record.
_ATTEMPT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
"""
# KEYS: outbox. ARGV: id, record.
_NOTE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
"""
# KEYS: lease, what is shown. ARGV: token, record, milliseconds.
_SHOW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""


class KeptAlerts(NamedTuple):
    """All episodes by their field, and all deliveries by their id."""

    episodes: dict[str, bytes]
    deliveries: dict[str, bytes]


class AlertStore:
    """The state of the alerts of a namespace. All raise what StoreTrouble has."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client: Any = client
        self._lease, self._term, self._episodes, self._outbox, self._shown = alert_keys(namespace)

    def take_lease(self, name: str) -> str | None:
        """Become the one that evaluates; the token, or None while another one is."""
        token = self._client.eval(_TAKE, 2, self._lease, self._term, name, LEASE_MS)
        return None if token is None else _text(token)

    def renew_lease(self, token: str) -> bool:
        """Stay it for LEASE_MS from now on; False: another one is, or Redis has forgotten."""
        return bool(self._client.eval(_RENEW, 1, self._lease, token, LEASE_MS))

    def give_lease_back(self, token: str) -> None:
        """Let the next one begin at once."""
        self._client.eval(_RENEW, 1, self._lease, token)

    def read(self) -> KeptAlerts:
        """All that is kept."""
        episodes, deliveries = (self._client.hgetall(key) for key in (self._episodes, self._outbox))
        return KeptAlerts(
            {_text(field): record for field, record in episodes.items()},
            {_text(field): record for field, record in deliveries.items()},
        )

    def change(self, token: str, episodes: Mapping[str, bytes | None], deliveries: Sequence[tuple[str, bytes]]) -> bool:
        """Change episodes (None: they are over) and put deliveries in the outbox, all or nothing; False: not ours."""
        fields = [part for field, record in episodes.items() for part in (field, record or b"")]
        records = [part for delivery in deliveries for part in delivery]
        keys = (self._lease, self._episodes, self._outbox)
        return bool(self._client.eval(_CHANGE, len(keys), *keys, token, len(episodes), *fields, *records))

    def show(self, token: str, shown: ShownRules) -> bool:
        """Show rules and alerts to who asks the api, for SHOWN_MS from now on; False: not ours."""
        return bool(self._client.eval(_SHOW, 2, self._lease, self._shown, token, encode_shown(shown), SHOWN_MS))

    def begin_attempt(self, token: str, delivery_id: str, record: bytes) -> bool:
        """Note that a delivery is about to be tried; False: it is not ours to try, or it has arrived."""
        return bool(self._client.eval(_ATTEMPT, 2, self._lease, self._outbox, token, delivery_id, record))

    def note(self, delivery_id: str, record: bytes) -> None:
        """Note what is known of a delivery, whoever brings it, as long as it has not arrived."""
        self._client.eval(_NOTE, 1, self._outbox, delivery_id, record)

    def delivered(self, delivery_id: str) -> None:
        """Note that it has arrived, whoever brought it."""
        self._client.hdel(self._outbox, delivery_id)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
