"""Settings from files: `_FILE` behind a variable's name."""

from pathlib import Path

import pytest

from callmeter.settings_reading import SettingsWrong, read_settings


def test_any_setting_may_stand_in_a_file(tmp_path: Path) -> None:
    """A setting is read from a file without the line's end; other settings are as ever, and so is the one whose own
    name ends in `_FILE`."""
    secret, prices, empty = tmp_path / "url", tmp_path / "prices.yaml", tmp_path / "empty"
    secret.write_text("redis://:hunter2@redis:6379/0\n")
    prices.write_text("prices: []")
    empty.write_text("\n")
    in_force = read_settings(
        {
            "CALLMETER_REDIS__URL_FILE": str(secret),
            "CALLMETER_PRICES_FILE": str(prices),
            "CALLMETER_KAFKA__GROUP_ID": "g",
            "CALLMETER_KAFKA__TOPICS_FILE": str(empty),
        }
    )
    assert in_force.redis.url == "redis://:hunter2@redis:6379/0"
    assert (in_force.prices_file, in_force.kafka.group_id) == (prices, "g")
    assert in_force.kafka.topics == read_settings({}).kafka.topics


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    """The variable is named, and nothing of what the file holds is repeated."""
    for name, content, told in (
        ("absent", None, "cannot be read"),
        ("binary", b"\xff", "not UTF-8"),
        ("large", b"x" * 70_000, "larger than"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsWrong, match=f"CALLMETER_REDIS__URL_FILE: .*{told}"):
            read_settings({"CALLMETER_REDIS__URL_FILE": str(path)})
    wrong = tmp_path / "wrong"
    wrong.write_text("http://user:hunter2@redis")
    with pytest.raises(SettingsWrong, match="CALLMETER_REDIS__URL") as refused:
        read_settings({"CALLMETER_REDIS__URL_FILE": str(wrong)})
    assert "hunter2" not in str(refused.value)


def test_a_value_and_a_file_contradict_each_other(tmp_path: Path) -> None:
    """A setting with a value and a file is refused: which one is meant cannot be known. A file for what is no setting
    is a wrong name."""
    path = tmp_path / "url"
    path.write_text("redis://a")
    with pytest.raises(SettingsWrong, match="both set"):
        read_settings({"CALLMETER_REDIS__URL_FILE": str(path), "CALLMETER_REDIS__URL": "redis://b"})
    with pytest.raises(SettingsWrong, match="CALLMETER_REDIS__URI_FILE is not a setting"):
        read_settings({"CALLMETER_REDIS__URI_FILE": str(path)})
