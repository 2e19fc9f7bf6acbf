"""`callmeter keys`: a key that is made opens the api, one that is revoked no more; mistakes are told in a sentence."""

import asyncio
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from click.testing import CliRunner, Result

from aggregator.access.key import new_access_key
from aggregator.store.key_store import AsyncKeyStore
from api.access.basic_auth import KeyAccess
from api.refusals import Refusal
from callmeter.commands.keys import keys
from callmeter.local.loopback_port import LOOPBACK
from callmeter.settings import RedisSettings, Settings
from tests.pipeline.pipeline import Api
from tests.support.access_keys import basic


def command(redis_url: str, *arguments: str) -> Result:
    """`callmeter keys` with these arguments."""
    settings = Settings(redis=RedisSettings(url=redis_url, namespace="test"))
    return CliRunner().invoke(keys, arguments, obj=settings)


def test_command(redis_url: str) -> None:
    """A key is created, opens the api, is listed with its scope, and after its revocation opens it no more."""

    def opens_api(shown: str) -> bool:
        async def reader() -> bool:
            async with redis.asyncio.Redis.from_url(redis_url) as client:
                try:
                    reader = await KeyAccess(AsyncKeyStore(client, "test")).reader(basic(shown))
                except Refusal:
                    return False
                return reader.may_read("a") and reader.may_read("b") and not reader.may_read("c")

        return asyncio.run(reader())

    created = command(redis_url, "create", "--name", "grafana", "--project", "a", "--project", "b")
    shown = created.stdout.strip()
    assert created.exit_code == 0
    assert command(redis_url, "list").stdout.splitlines()[1].endswith("never")
    assert opens_api(shown)
    assert command(redis_url, "create", "--name", "ops", "--all-projects").exit_code == 0
    listed = command(redis_url, "list")
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    assert [row[1:3] for row in rows] == [["grafana", "a,b"], ["ops", "*"]]
    assert not listed.stdout.splitlines()[1].endswith("never")
    assert shown.rpartition("_")[2] not in listed.stdout
    assert command(redis_url, "revoke", rows[0][0]).exit_code == 0
    assert not opens_api(shown)
    assert command(redis_url, "revoke", rows[0][0]).exit_code == 1


def test_a_name_does_not_steer_the_terminal(redis_url: str) -> None:
    """Whoever may make keys cannot hide rows of the list from others."""
    assert command(redis_url, "create", "--name", "x\x1b[2K\rroot", "--all-projects").exit_code == 0
    assert "x\\x1b[2K\\rroot" in command(redis_url, "list").stdout


def test_stated_keys_are_listed(redis_url: str) -> None:
    """Keys that CALLMETER_KEYS states stand in the list, and are told apart from those that Redis holds."""
    key, shown = new_access_key("stated", ["a"], 0)
    settings = Settings(redis=RedisSettings(url=redis_url, namespace="test"), keys=(key,))
    [_, row] = CliRunner().invoke(keys, ["list"], obj=settings).stdout.splitlines()
    assert row.split()[:5] == [key.key_id, "stated", "a", "read", "CALLMETER_KEYS"]
    assert shown.rpartition("_")[2] not in row


def test_a_stated_key_opens_an_api_whose_redis_forgot(redis_url: str, tmp_path: Path) -> None:
    """The api as a program, its keys in a file, nothing in Redis; another key is told that it is not known."""
    key, shown = new_access_key("dashboards", None, 0)
    _, stranger = new_access_key("stranger", None, 0)
    (tmp_path / "keys").write_text(f"{shown} {key.name}\n")
    api = Api({"REDIS__URL": redis_url, "KEYS_FILE": str(tmp_path / "keys")}, tmp_path / "api.log")
    question = {"project_id": "a", "start": "2026-03-03T00:00:00Z", "call_metrics": [{"metric": "call_count"}]}
    api.start()
    url = f"http://{LOOPBACK}:{api.port}/calls/stats"
    statuses = [httpx.post(url, json=question, auth=("api", one)).status_code for one in (shown, stranger)]
    api.stop()
    assert statuses == [200, 401]
    assert shown.rpartition("_")[2] not in (tmp_path / "api.log").read_text()


@pytest.mark.parametrize("scope", [[], ["--project", "a", "--all-projects"]])
def test_command_wants_one_scope(redis_url: str, scope: list[str]) -> None:
    """A key reads named projects or all of them; neither and both are refused, and no key is made."""
    assert command(redis_url, "create", "--name", "x", *scope).exit_code == 2
    assert len(command(redis_url, "list").stdout.splitlines()) == 1


def test_command_without_redis() -> None:
    """The command says in a sentence that Redis is away."""
    for arguments in (["list"], ["revoke", "x"], ["create", "--name", "x", "--all-projects"]):
        failed = command("redis://127.0.0.1:1/0", *arguments)
        assert (failed.exit_code, failed.stderr.count("\n")) == (1, 1)
        assert "cannot be reached" in failed.stderr
