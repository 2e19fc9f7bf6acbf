"""Matchers of selectors: patterns mean what they mean to Prometheus, and none takes long, whatever it is."""

import time
from typing import Any

import promql_parser as promql
import pytest

from api.prometheus.bad_query import BadQuery
from api.prometheus.matching import Matcher, matchers_of

# With a reader that goes back and tries again the patterns below take hours; the bound is no measure of speed.
CPU_S_MAX = 20.0
LONG = "weave:///acme/agents/op/" + "a" * 4_000


def matcher(operator: str, pattern: str) -> Matcher:
    selector: Any = promql.parse(f'm{{op_name{operator}"{pattern}"}}')
    return matchers_of(selector)[-1]


@pytest.mark.parametrize(
    "pattern",
    [
        "((a+))+b",
        "(.|.)*!",
        "(.?){30}!",
        "(.|.|a)+!",
        ".*.*.*.*.*.*.*.*.*.*!",
        "(?:(?:.*)*)*!",
        "((a?){30}){30}!",
    ],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    """A pattern that may match in many ways is decided in one walk over the name."""
    began_s = time.process_time()
    assert not matcher("=~", pattern).matches(LONG)
    assert time.process_time() - began_s < CPU_S_MAX


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("chat", "chat", True),
        ("chat", "chats", False),
        ("chat|embed", "embed", True),
        ("a.c", "a\nc", True),
        ("(?i)CHAT", "chat", True),
        ("[[:alpha:]]+", "chat", True),
        (r"\\pL+", "été", True),
        (r"chat\\z", "chat", True),
        (r"\\d+", "٣", False),
        (".*", "", True),
        (".+", "", False),
        ("é?", "é", True),
        ("", "", True),
        ("|".join(f"weave:///a/b/op/{at}:.+" for at in range(500)), "weave:///a/b/op/499:v", True),  # of a drop-down
    ],
)
def test_patterns_mean_what_they_mean_to_prometheus(pattern: str, value: str, matches: bool) -> None:
    """The whole value must match, a point also a line break; classes are those of Go's patterns."""
    assert matcher("=~", pattern).matches(value) is matches
    assert matcher("!~", pattern).matches(value) is not matches


@pytest.mark.parametrize("pattern", ["(?:a{100}){100}", "x" * 20_001])
def test_patterns_that_are_too_large_are_refused(pattern: str) -> None:
    """A pattern of too many characters, or that stands for too many, is refused with a sentence."""
    with pytest.raises(BadQuery, match="pattern"):
        matcher("=~", pattern)


def test_too_many_matchers_are_refused() -> None:
    """The memory that patterns take while they are matched is bounded by how many there may be."""
    matchers = ", ".join(f'op_name!~"a{{{at}}}"' for at in range(21))
    with pytest.raises(BadQuery, match="more than 20 matchers"):
        matchers_of(promql.parse(f"m{{{matchers}}}"))
