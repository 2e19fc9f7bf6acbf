"""Files of rules: what is taken, and that each mistake is told with its line and its field."""

from pathlib import Path

import pytest
import yaml

from callmeter.alerts.receivers import SlackReceiver
from callmeter.alerts.rule_file import RulesWrong, read_rule_file, rules_of
from callmeter.alerts.rules import BurnRate, Cost
from tests.callmeter.alerts.rule_files import HOOK, as_told, rule, rule_file
from tests.support.paths import ROOT

HEAD = """project: acme/agents
receivers:
  - {name: hook, type: webhook, url: "http://127.0.0.1:1/hook"}
rules:
"""


def mistakes(text: str) -> list[str]:
    """Returns what is wrong with a file."""
    with pytest.raises(RulesWrong) as wrong:
        rules_of(text.encode(), "f")
    return list(wrong.value.mistakes)


@pytest.mark.parametrize(
    ("rule_lines", "told"),
    [
        ("  - name: a\n    kind: ratio\n    window: 5\n    above: 1", "f:7: rules[0].window is not a duration; write"),
        (
            "  - name: a\n    kind: ratio\n    window: 90s\n    above: 1",
            "f:7: rules[0].window is not a window of",
        ),
        ("  - name: a\n    kind: ratio\n    window: 5m", "f:5: rules[0] needs `above` or `below`"),
        ("  - name: a\n    kind: ratio\n    window: 5m\n    abve: 1", "f:8: rules[0].abve is no field of this"),
        ("  - name: a\n    kind: ratio\n    above: 1", "f:5: rules[0].window is missing"),
        ("  - name: a\n    kind: rato", "f:5: rules[0] is wrong: input tag 'rato'"),
        ("  - name: a", "f:5: rules[0] needs the field 'kind'"),
        ("  - {name: a, kind: stale, above: 1m, summary: '{valeu}'}", "f:5: rules[0].summary says {valeu}; there are"),
        ("  - {name: a, kind: stale, above: 1m, receivers: [x]}", "f:5: rules[0].receivers x is no receiver"),
        ("  - {name: a, kind: stale, above: 1m, above: 2m}", "f:5: above is there twice"),
        ("  - {name: a b, kind: stale, above: 1m}", "f:5: rules[0].name is wrong: string should match"),
        ("  - {name: a, kind: burn_rate, objective: 1}", "f:5: rules[0].objective is wrong: input should be less"),
        ("  - {name: a, kind: stale, above: 1m}\n  - {name: a, kind: stale, above: 1m}", "f:6: rules[1].name a is the"),
        ("  - {name: a, kind: stale, above: 1m}\nsilences: [{rule: b, until: 2026-01-01T00:00:00Z}]", "f:6: silences"),
        ("  - {name: a, kind: stale, above: 1m}\nsilences: [{rule: a, until: 2026-01-01T00:00:00}]", "f:6: silences"),
        ("  - {name: a, kind: [stale", "is no YAML"),
        ("  []", "f:5: rules is empty"),
    ],
)
def test_a_mistake_is_told_with_its_line(rule_lines: str, told: str) -> None:
    """Each mistake is told once, with its line."""
    [mistake] = mistakes(HEAD + rule_lines + "\n")
    assert told in mistake


@pytest.mark.parametrize("of_itself", ["rules: &r [*r]", "rules: &r\n  - *r", "? &k [*k]\n: 1", "rules: &r {a: *r}"])
def test_a_file_that_holds_itself_is_wrong(of_itself: str) -> None:
    """An alias inside what it stands for is a mistake like others, and neither ends who reads the file nor holds it."""
    assert mistakes(of_itself + "\n")


def test_aliases_of_aliases_are_looked_at_once() -> None:
    """A few lines that stand for a million places are read like a few lines."""
    lines = ["a0: &a0 [x, x, x, x]", *(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 30))]
    assert any("a0 is no field" in one for one in mistakes("\n".join(lines)))


def test_all_mistakes_at_once() -> None:
    """Nobody mends a file line by line."""
    lines = "  - {name: a, kind: ratio, window: 5, above: x}\n  - {name: b, kind: cost}\n"
    assert len(mistakes(HEAD + lines)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f: the file is no mapping of fields"),
        ("receivers: []\nrules: 5", "f:2: rules is no list"),
        ("receivers: []\nrules: {a: 1}", "f:2: rules is no list"),
        ("receivers: []\nrules: [5]", "f:2: rules[0] is no mapping of fields"),
        ("receivers: [[]]\nrules: []", "f:1: receivers[0] is no mapping of fields"),
    ],
)
def test_a_part_of_another_kind(text: str, told: str) -> None:
    """A part that should be a list or a mapping, and is none, is told in YAML's words, not in Python's."""
    assert mistakes(text) == [told]


@pytest.mark.parametrize(
    ("receiver", "told"),
    [
        ({"type": "webhook"}, "receivers[0] needs `url` or `url_file`"),
        ({"type": "webhook", "url": "ftp://x"}, "receivers[0] has an address that does not begin with http"),
        ({"type": "slack", "url_file": "/nowhere/at/all"}, "names the file /nowhere/at/all, which cannot be read"),
        ({"type": "pagerduty"}, "receivers[0] needs `routing_key` or `routing_key_file`"),
        ({"type": "pager"}, "receivers[0] is wrong: input tag 'pager'"),
    ],
)
def test_a_receiver_that_is_wrong(receiver: dict[str, str], told: str) -> None:
    """A receiver that lacks something, or whose file cannot be read, is refused before anything is to be delivered."""
    given = as_told({"name": "a", "kind": "stale", "above": "1m"}, receivers=[{"name": "r"} | receiver])
    [mistake] = mistakes(yaml.safe_dump(given))
    assert told in mistake


def test_secrets_in_files_are_not_repeated(tmp_path: Path) -> None:
    """Secrets are read from files, and neither a rule file nor its mistakes show them."""
    (tmp_path / "url").write_text("https://hooks.slack.example/T0/secret\n")
    slack = {"name": "slack", "type": "slack", "url_file": str(tmp_path / "url")}
    file = rule_file({"name": "a", "kind": "stale", "above": "1m"}, receivers=[slack, HOOK])
    [receiver] = [one for one in file.receivers if isinstance(one, SlackReceiver)]
    assert receiver.address() == "https://hooks.slack.example/T0/secret"
    assert "T0/secret" not in repr(file)
    assert "127.0.0.1" not in repr(file)


def test_what_need_not_be_said() -> None:
    """Sloth's four pairs of windows, the window of a cost, all receivers, no filter."""
    burn = rule(kind="burn_rate", objective=0.999)
    assert isinstance(burn, BurnRate)
    assert [(one.long, one.short, one.factor) for one in burn.windows] == [
        (3_600, 300, 14.4),
        (21_600, 1_800, 6),
        (86_400, 7_200, 3),
        (259_200, 21_600, 1),
    ]
    cost = rule(kind="cost", per="hour", above=10)
    assert isinstance(cost, Cost)
    assert cost.window_s == 3_600
    assert rule_file({"name": "a", "kind": "stale", "above": "1m"}).receivers_of(cost) == ("hook",)


def test_the_example_is_right() -> None:
    """The file that docs/alerts.md begins with."""
    assert len(read_rule_file(ROOT / "examples" / "alerts.yaml").rules) == 9
