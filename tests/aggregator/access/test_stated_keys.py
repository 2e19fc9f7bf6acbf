"""Keys that an operator states open the api whatever Redis forgets; what is wrong with a line is said."""

import asyncio

import pytest

from aggregator.access.key import AccessKey, new_access_key
from aggregator.access.key_ring import KeyRing
from aggregator.access.stated_keys import STATED_KEYS_MAX, StatedKeys, stated_keys
from aggregator.store.key_store import KeyStoreAway

STORED, STORED_SHOWN = new_access_key("stored", None, 1)
STATED, SHOWN = new_access_key("stated", ["acme/agents", "acme/others"], 0, ("read", "write"))
LINE = f"{SHOWN} stated read,write acme/agents,acme/others"


class OneKey:
    """A store with one key, whose uses are noted; or one that is away."""

    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.used: list[str] = []

    async def find(self, key_id: str) -> AccessKey | None:
        if self.away:
            raise KeyStoreAway("no Redis")
        return STORED if key_id == STORED.key_id else None

    async def mark_used(self, key_id: str, now_us: int) -> None:
        self.used.append(key_id)


def recognise(keys: StatedKeys, shown: str) -> AccessKey | None:
    """Returns whom a ring of these keys recognises by what is shown."""
    return asyncio.run(KeyRing(keys, lambda: 10**15).recognise(shown))


def test_lines() -> None:
    """A line has the key, whose it is, and what it allows; comments and empty lines are none."""
    _, other = new_access_key("dashboards", None, 0)
    found = stated_keys(f"# of the team\n\n{LINE}  # SDKs\n{other} dashboards\n")
    assert found[0] == STATED
    assert (found[1].name, found[1].projects, found[1].scopes) == ("dashboards", None, ("read",))
    assert SHOWN.rpartition("_")[2] not in repr(found)


def test_a_stated_key_needs_no_store() -> None:
    """A stated key is recognised while Redis is away, with the right secret only; other keys are looked for in
    Redis."""
    store = OneKey()
    keys = StatedKeys(stated_keys(LINE), store)
    assert recognise(keys, SHOWN) == STATED
    assert recognise(keys, SHOWN[:-1] + ("0" if SHOWN[-1] != "0" else "1")) is None
    assert recognise(keys, STORED_SHOWN) == STORED
    assert store.used == [STORED.key_id]
    store.away = True
    assert recognise(keys, SHOWN) == STATED
    with pytest.raises(KeyStoreAway):
        recognise(keys, STORED_SHOWN)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SHOWN, "line 1: has 1 words"),
        (f"{LINE} more", "line 1: has 5 words"),
        ("\nsecret dashboards", "line 2: begins with no access key"),
        (f"{SHOWN} x admin", "line 1: scopes are"),
        (f"{SHOWN} x read ,", "line 1: names no project"),
        (f"{LINE}\n{LINE}", "line 2: key .* is there twice"),
        ("".join(f"cm_{n}_0 x\n" for n in range(STATED_KEYS_MAX + 1)), "at most 1,000"),
    ],
    # The keys are new in every process, the tests' names are not.
    ids=["one word", "five words", "no key", "scopes", "no project", "twice", "too many"],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    """The line is named, and the key is not repeated."""
    with pytest.raises(ValueError, match=why) as raised:
        stated_keys(text)
    assert SHOWN.rpartition("_")[2] not in str(raised.value)
