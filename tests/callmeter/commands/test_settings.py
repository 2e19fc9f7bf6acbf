"""Settings: the documented defaults, every variable read, every wrong value named in one sentence."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from aggregator.access.key import new_access_key
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES
from callmeter.commands.settings import markdown_table, setting_rows, settings
from callmeter.settings import Settings
from callmeter.settings_reading import SettingsWrong, leaves, read_settings, variable
from tests.support.paths import DOCS


def test_defaults() -> None:
    """Everything runs against the local ports that Kafka and Redis use by default, with nothing set."""
    in_force = read_settings({})
    assert (in_force.kafka.bootstrap_servers, in_force.kafka.topics) == ("127.0.0.1:9092", ("calls",))
    assert in_force.redis.url == "redis://127.0.0.1:6379/0"
    assert in_force.retention.calls == 30 * 86_400
    assert in_force.batch.bytes_max == 33_554_432
    assert in_force.now_us() is None


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    """Lists, JSON, durations, sizes, flags, paths, instants and numbers come out as what they mean."""
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices: []")
    in_force = read_settings(
        {
            "CALLMETER_KAFKA__BOOTSTRAP_SERVERS": "kafka-1:9092,kafka-2:9092",
            "CALLMETER_KAFKA__TOPICS": "calls, calls-eu,calls",
            "CALLMETER_KAFKA__EXTRA": '{"security.protocol": "SSL", "fetch.wait.max.ms": 50}',
            "CALLMETER_REDIS__CLUSTER": "true",
            "CALLMETER_PRICES_FILE": str(prices),
            "CALLMETER_RETENTION__CALLS": "1d12h",
            "CALLMETER_BATCH__BYTES_MAX": "64MiB",
            "CALLMETER_API__PORT": "9000",
            "CALLMETER_NOW": "2026-06-10T02:00:00.000001+02:00",
            "CALLMETER_LOG__LEVEL": "",
            "HOME": "/somewhere",
        }
    )
    assert in_force.kafka.topics == ("calls", "calls-eu")
    assert in_force.kafka.extra == {"security.protocol": "SSL", "fetch.wait.max.ms": 50}
    assert in_force.redis.cluster is True
    assert in_force.prices_file == prices
    assert in_force.retention.calls == 129_600
    assert in_force.batch.bytes_max == 67_108_864
    assert in_force.api.port == 9000
    assert in_force.now_us() == 1_781_049_600_000_001
    assert in_force.log.level == "info"


@pytest.mark.parametrize(
    ("name", "written", "sentence"),
    [
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka-1", "is not a list of host:port"),
        ("KAFKA__TOPICS", "calls,,more", "names the topic ''"),
        ("KAFKA__GROUP_ID", "x" * 300, "at most 249"),
        ("KAFKA__MEMBER", "{host}", "a name is letters, digits"),
        ("KAFKA__DEAD_LETTER_TOPIC", "dead letters", "names the topic 'dead letters'"),
        ("KAFKA__EXTRA", "[]", "is not a JSON object"),
        ("KAFKA__EXTRA", '{"a": {}}', "is wrong"),
        ("REDIS__URL", "http://127.0.0.1", "is not a Redis URL"),
        ("REDIS__URL", "redis://127.0.0.1:port", "is not a Redis URL"),
        ("REDIS__NAMESPACE", "call{meter}", "is wrong"),
        ("SEGMENTS__URL", "https://bucket/path", "is no object store, like file:///path, s3://bucket/path"),
        ("SEGMENTS__URL", "file://segments", "is not a directory by its whole path"),
        ("REDIS__CLUSTER", "maybe", "is wrong"),
        ("PRICES_FILE", "/does/not/exist.yaml", "is not a file"),
        ("RETENTION__CALLS", "7", "is not a duration"),
        ("RETENTION__MINUTES", "7 days", "is not a duration"),
        ("RETENTION__FIVE_MINUTES", "-1d", "is not a duration"),
        ("RETENTION__HOURS", "0s", "is out of range"),
        ("BATCH__MESSAGES_MAX", "0", "is wrong"),
        ("BATCH__BYTES_MAX", "lots", "is wrong"),
        ("BATCH__WAIT_MS", "0.5", "is wrong"),
        ("API__PORT", "65536", "is wrong"),
        ("LOG__LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("NOW", "yesterday", "is wrong"),
        ("NOW", "2026-06-10T02:00:00", "timezone"),
    ],
)
def test_a_wrong_value_is_named(name: str, written: str, sentence: str) -> None:
    """The sentence names the variable, what it holds and what is wrong with that, on one line."""
    with pytest.raises(SettingsWrong) as wrong:
        read_settings({f"CALLMETER_{name}": written})
    message = str(wrong.value)
    assert message.startswith(f"CALLMETER_{name}")
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("CALLMETER_KAFKA__TOPIC", "did you mean CALLMETER_KAFKA__TOPICS?"),
        ("CALLMETER_REDIS_URL", "did you mean CALLMETER_REDIS__URL?"),
        ("CALLMETER_RETENTION__CALL", "did you mean CALLMETER_RETENTION__CALLS?"),
        ("CALLMETER_QWXZ", "`callmeter settings` lists"),
    ],
)
def test_a_misspelt_variable_is_named(name: str, closest: str) -> None:
    """A variable that nothing reads stops the start, and the closest one there is is offered."""
    with pytest.raises(SettingsWrong, match=name) as wrong:
        read_settings({name: "1"})
    assert closest in str(wrong.value)


def test_no_password_is_repeated() -> None:
    """Mistakes and the settings in force are shown without the passwords in them."""
    for name, written in (
        ("CALLMETER_REDIS__URL", "http://user:hunter2@redis"),
        ("CALLMETER_KAFKA__EXTRA", '{"sasl.password": ["hunter2"]}'),
        ("CALLMETER_KAFKA__EXTRA", '{"ssl.key.pem": ["hunter2"]}'),
    ):
        with pytest.raises(SettingsWrong) as wrong:
            read_settings({name: written})
        assert "hunter2" not in str(wrong.value)
    in_force = read_settings(
        {
            "CALLMETER_REDIS__URL": "redis://:hunter2@redis:6379/0",
            "CALLMETER_KAFKA__EXTRA": '{"sasl.password": "hunter2", "ssl.key.pem": "hunter2"}',
        }
    )
    shown = str(setting_rows(in_force))
    assert "hunter2" not in shown
    assert "redis://:***@redis:6379/0" in shown


def test_a_coarser_level_outlives_a_finer_one() -> None:
    """A coarser level must be kept as long as a finer one, or longer; else what to set is told. A longer call record is
    no contradiction."""
    with pytest.raises(SettingsWrong) as wrong:
        read_settings({"CALLMETER_RETENTION__MINUTES": "500d", "CALLMETER_RETENTION__HOURS": "600d"})
    assert "CALLMETER_RETENTION__MINUTES=500d is longer than CALLMETER_RETENTION__FIVE_MINUTES=90d" in str(wrong.value)
    with pytest.raises(SettingsWrong, match="Set CALLMETER_RETENTION__HOURS=500d or more"):
        read_settings({"CALLMETER_RETENTION__FIVE_MINUTES": "500d"})
    same = dict.fromkeys((f"CALLMETER_RETENTION__{level}" for level in ("MINUTES", "FIVE_MINUTES", "HOURS")), "500d")
    kept = read_settings(same | {"CALLMETER_RETENTION__CALLS": "900d"}).retention.kept()
    assert [kept.level_s(level) for level in (MINUTES, FIVE_MINUTES, HOURS)] == [500 * 86_400] * 3


def test_settings_do_not_change() -> None:
    """Settings stay as they were read."""
    with pytest.raises(ValidationError, match="frozen"):
        read_settings({}).kafka.group_id = "other"


def test_every_variable_is_documented() -> None:
    """The table has a row with a meaning for every setting, and what it shows can be set."""
    rows = setting_rows(Settings())
    assert [row.name for row in rows] == [variable(path) for path, _, _ in leaves(Settings())]
    assert all(row.meaning.endswith(".") for row in rows)
    assert read_settings({row.name: row.default for row in rows}) == Settings()
    assert all(f"| `{row.name}` |" in markdown_table() for row in rows)


def test_stated_keys_are_never_shown() -> None:
    """Neither a wrong line nor the list of settings repeats a secret; the list names the keys by their ids."""
    key, shown = new_access_key("sdk", None, 0)
    secret = shown.rpartition("_")[2]
    with pytest.raises(SettingsWrong, match=r"^CALLMETER_KEYS line 1: scopes are") as wrong:
        read_settings({"CALLMETER_KEYS": f"{shown} sdk admin"})
    output = CliRunner().invoke(settings, obj=read_settings({"CALLMETER_KEYS": f"{shown} sdk"})).output
    assert f"CALLMETER_KEYS={key.key_id}" in output
    assert secret not in output + str(wrong.value)


def test_the_command_shows_what_differs() -> None:
    """A setting that is not the default stands beside the default."""
    shown = CliRunner().invoke(settings, obj=read_settings({"CALLMETER_RETENTION__CALLS": "7d"})).output
    assert "CALLMETER_RETENTION__CALLS=7d  (default: 30d)" in shown
    assert "CALLMETER_RETENTION__HOURS=400d\n" in shown


def test_readme_has_the_table() -> None:
    """docs/operations.md documents every variable in one table, word for word as the command prints it."""
    assert markdown_table() in (DOCS / "operations.md").read_text()
