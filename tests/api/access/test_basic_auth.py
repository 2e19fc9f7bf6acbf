"""Who may read: keys, their store in Redis, the 401 and 403."""

import asyncio
import base64
import re
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio

from aggregator.access.key import AccessKey, is_secret_of, new_access_key, split_key
from aggregator.access.key_ring import KEY_BELIEVED_US_MAX, KEYS_REMEMBERED_MAX, USE_NOTED_US_MIN
from aggregator.store.key_store import AsyncKeyStore, KeyStore, KeyStoreAway
from api.access.basic_auth import ExposedWithoutKeys, KeyAccess, check_exposure
from api.refusals import Refusal
from tests.support.access_keys import KEY, ROOT_KEY, ROOT_SHOWN, SHOWN, basic
from tests.support.asking import FakeAnswers, app_of, ask

REQUESTS = [
    ("/calls/stats", {"start": "2026-03-01T00:00:00Z"}),
    ("/calls/usage", {"call_ids": []}),
]


class MemoryKeys:
    """Keys without Redis, and what was asked of them."""

    def __init__(self, *keys: AccessKey) -> None:
        self.keys = {key.key_id: key for key in keys}
        self.found: list[str] = []
        self.uses: list[tuple[str, int]] = []

    async def find(self, key_id: str) -> AccessKey | None:
        self.found.append(key_id)
        return self.keys.get(key_id)

    async def mark_used(self, key_id: str, now_us: int) -> None:
        self.uses.append((key_id, now_us))


class AwayKeys:
    """Keys while Redis is away."""

    async def find(self, key_id: str) -> AccessKey | None:
        raise KeyStoreAway("connection refused")

    async def mark_used(self, key_id: str, now_us: int) -> None:
        raise KeyStoreAway("connection refused")


class Clock:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.now_us = 1_780_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


def asked_with(authorization: str | None, path: str, request: dict[str, Any], keys: Any = None) -> httpx.Response:
    """The response to a request with this header, where KEY and ROOT_KEY are known."""
    app = app_of(FakeAnswers(), KeyAccess(keys or MemoryKeys(KEY, ROOT_KEY)))
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    return ask(app, "POST", path, json=request, headers=headers)


def let_in(access: KeyAccess, shown: str) -> bool:
    """Whether a key is let in."""
    try:
        asyncio.run(_reader(access, shown))
    except Refusal:
        return False
    return True


async def _reader(access: KeyAccess, shown: str) -> None:
    await access.reader(basic(shown))


def test_key_is_shown_once() -> None:
    """The record holds neither the key nor its secret, recognises it, and no two keys are alike."""
    assert re.fullmatch(r"cm_[0-9a-f]{12}_[0-9a-f]{48}", SHOWN)
    key_id, secret = split_key(SHOWN) or ("", "")
    assert key_id == KEY.key_id
    assert secret not in repr(KEY)
    assert is_secret_of(secret, KEY)
    assert not is_secret_of(secret, ROOT_KEY)
    assert not is_secret_of(secret[:-1], KEY)
    assert new_access_key("grafana", ["acme/agents"], 1)[1] != SHOWN


@pytest.mark.parametrize("text", ["", "cm", "cm_a", "cm_a_b_c", "xx_a_b", "cm_a_" + "b" * 124])
def test_no_keys(text: str) -> None:
    """A credential of another form, or one that is much too long, is no key."""
    assert split_key(text) is None
    assert split_key("cm_a_" + "b" * 123) == ("a", "b" * 123)


# The keys are new in every process, the names of tests are not.
UNKNOWN = {
    "none": None,
    "empty": "",
    "no value": "Basic",
    "not base64": "Basic ???",
    "not ascii": "Basic \xff\xfe",
    "bearer": f"Bearer {SHOWN}",
    "not utf-8": "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "no colon": "Basic " + base64.b64encode(b"api").decode(),
    "another user": basic(SHOWN, user="admin"),
    "no key": basic(""),
    "no parts": basic("cm__"),
    "cut off": basic(SHOWN[:-1]),
    "one more": basic(SHOWN + "0"),
    "capitals": basic(SHOWN.upper()),
    "another id": basic("cm_000000000000_" + SHOWN.rpartition("_")[2]),
    "of another key": basic(f"cm_{ROOT_KEY.key_id}_" + SHOWN.rpartition("_")[2]),
    "long": basic("x" * 100_000),
}


@pytest.mark.parametrize(("path", "request_"), REQUESTS)
@pytest.mark.parametrize("authorization", UNKNOWN.values(), ids=UNKNOWN)
def test_unauthorized(authorization: str | None, path: str, request_: dict[str, Any]) -> None:
    """The answer without a known key is 401 with WWW-Authenticate, before anything is said about the body."""
    good = asked_with(authorization, path, request_ | {"project_id": "acme/agents"})
    assert (good.status_code, good.headers["www-authenticate"], list(good.json())) == (401, "Basic", ["detail"])
    assert asked_with(authorization, path, {"wrong": 1}).content == good.content


def test_an_unknown_key_is_told_from_an_absent_one() -> None:
    """A client that sent a key that nobody knows any more is told so, and not that a key is to be sent."""
    path, request = "/calls/usage", {"project_id": "acme/agents", "call_ids": []}
    absent, unknown = (asked_with(header, path, request).text for header in (None, basic(SHOWN[:-1])))
    assert "Send an access key" in absent
    assert "is not known" in unknown


@pytest.mark.parametrize(("path", "request_"), REQUESTS)
def test_projects(path: str, request_: dict[str, Any]) -> None:
    """A key reads its projects, a key for all reads every one; the rest is 403, the same for every project."""
    for shown, project, status in (
        (SHOWN, "acme/agents", 200),
        (SHOWN, "acme", 403),
        (SHOWN, "acme/agents2", 403),
        (SHOWN, "", 403),
        (ROOT_SHOWN, "acme/agents", 200),
        (ROOT_SHOWN, "anything", 200),
    ):
        assert asked_with(basic(shown), path, request_ | {"project_id": project}).status_code == status
    refusals = [asked_with(basic(SHOWN), path, request_ | {"project_id": name}) for name in ("acme/other", "nobody")]
    assert refusals[0].content == refusals[1].content
    assert refusals[0].headers == refusals[1].headers


def test_scheme_in_any_case() -> None:
    """`basic` is `Basic`."""
    lower = basic(SHOWN).replace("Basic", "basic")
    assert asked_with(lower, "/calls/usage", {"project_id": "acme/agents", "call_ids": []}).status_code == 200


def test_forbidden_projects_are_not_asked_for() -> None:
    """The store is not touched for a project that the key does not read, so that time tells nothing either."""
    answers = FakeAnswers()
    app = app_of(answers, KeyAccess(MemoryKeys(KEY)))
    request = {"project_id": "other", "call_ids": []}
    assert ask(app, "POST", "/calls/usage", json=request, headers={"Authorization": basic(SHOWN)}).status_code == 403
    assert answers.asked == []


@pytest.mark.parametrize(("path", "request_"), REQUESTS)
def test_keys_away(path: str, request_: dict[str, Any]) -> None:
    """A key that cannot be looked up is not wrong: the answer is 503; what is no key is 401 even then."""
    request = request_ | {"project_id": "acme/agents"}
    assert asked_with(basic(SHOWN), path, request, AwayKeys()).status_code == 503
    assert asked_with(basic("no key"), path, request, AwayKeys()).status_code == 401


def test_revoked_within_ten_seconds() -> None:
    """A revoked key is let in until it was believed for ten seconds, and not a microsecond longer."""
    known, clock = MemoryKeys(KEY), Clock()
    access = KeyAccess(known, clock)
    assert let_in(access, SHOWN)
    del known.keys[KEY.key_id]
    clock.now_us += KEY_BELIEVED_US_MAX - 1
    assert KEY_BELIEVED_US_MAX <= 10_000_000
    assert let_in(access, SHOWN)
    assert len(known.found) == 1
    clock.now_us += 1
    assert not let_in(access, SHOWN)
    known.keys[KEY.key_id] = KEY
    assert let_in(access, SHOWN)


def test_a_clock_that_goes_back_does_not_keep_a_revoked_key() -> None:
    """A key that was found by a clock that has since been set back is asked for again, and its use noted again."""
    known, clock = MemoryKeys(KEY), Clock()
    access = KeyAccess(known, clock)
    assert let_in(access, SHOWN)
    clock.now_us -= 3_600_000_000
    assert let_in(access, SHOWN)
    assert [at_us for _, at_us in known.uses] == [clock.now_us + 3_600_000_000, clock.now_us]
    del known.keys[KEY.key_id]
    clock.now_us -= 1
    assert not let_in(access, SHOWN)


def test_a_use_that_cannot_be_noted(redis_url: str) -> None:
    """Redis that takes no writes lets a key in all the same: only the note of its use is lost."""
    with redis.Redis.from_url(redis_url) as client:
        KeyStore(client, "test").add(KEY)
        client.set("test:keys:used", "no hash")  # any refusal; this one is WRONGTYPE

    async def reader() -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await KeyAccess(AsyncKeyStore(client, "test")).reader(basic(SHOWN))

    asyncio.run(reader())


def test_remembered_keys_are_checked_and_bounded() -> None:
    """A remembered id does not open for another secret; the oldest of too many is forgotten, unknown ids at once."""
    many = [new_access_key("k", None, n) for n in range(KEYS_REMEMBERED_MAX + 1)]
    known = MemoryKeys(*(key for key, _ in many))
    access = KeyAccess(known, Clock())
    assert let_in(access, many[0][1])
    assert not let_in(access, many[0][1][:-4] + "0000")
    assert not let_in(access, SHOWN)
    assert not let_in(access, SHOWN)
    assert known.found == [many[0][0].key_id, KEY.key_id, KEY.key_id]
    known.found.clear()

    async def ask_with_all() -> None:
        for _, shown in many:
            await access.reader(basic(shown))
        await access.reader(basic(many[0][1]))

    asyncio.run(ask_with_all())
    assert known.found == [key.key_id for key, _ in many[1:]] + [many[0][0].key_id]


def test_use_is_noted_once_a_minute() -> None:
    """The first use is noted, then none for a minute, though the key is looked up again meanwhile."""
    known, clock = MemoryKeys(KEY), Clock()
    access = KeyAccess(known, clock)
    first_us = clock.now_us
    for later_us in (0, 1, KEY_BELIEVED_US_MAX, USE_NOTED_US_MIN - 1, USE_NOTED_US_MIN):
        clock.now_us = first_us + later_us
        assert let_in(access, SHOWN)
    assert known.uses == [(KEY.key_id, first_us), (KEY.key_id, first_us + USE_NOTED_US_MIN)]


def test_wrong_keys_are_no_use() -> None:
    """A wrong secret does not count as a use of the key."""
    known = MemoryKeys(KEY)
    assert not let_in(KeyAccess(known, Clock()), SHOWN[:-4] + "0000")
    assert known.uses == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_may_be_open(host: str) -> None:
    """The api may listen without keys where only this machine reaches it."""
    check_exposure(host, auth=False)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "example.org", "localhost.evil.org"])
def test_elsewhere_needs_keys(host: str) -> None:
    """Anywhere else it needs keys."""
    check_exposure(host, auth=True)
    with pytest.raises(ExposedWithoutKeys, match="Without access keys"):
        check_exposure(host, auth=False)
