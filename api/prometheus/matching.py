"""Label matchers of a selector: the four of PromQL, fully anchored, and what they say of one label.

Patterns are RE2's, as in Prometheus, which is in Go: what a pattern means is the same, and none takes longer than the
value is long. Python's own `re` tries again and again, for hours, where a part of a value may match in several ways.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import re2
from promql_parser import MatchOp

from api.prometheus.bad_query import BadQuery
from api.prometheus.metrics import NAME

# A drop-down of Grafana with five hundred names chosen makes ten thousand; forty thousand values match in 0.2 s then.
PATTERN_CHARACTERS_MAX = 20_000
# Matchers of one selector: it has some ten labels, and each pattern may come to hold 8 MiB while it is matched.
MATCHERS_MAX = 20


class Matcher(NamedTuple):
    """One condition on a label; a label that is absent is the empty string."""

    label: str
    negated: bool
    value: str
    pattern: Any = None
    """What `re2` makes of the value; None where it is no pattern."""

    def matches(self, value: str) -> bool:
        """Whether a label of this value meets the condition."""
        found = self.value == value if self.pattern is None else self.pattern.fullmatch(value) is not None
        return found != self.negated


def matchers_of(selector: Any) -> tuple[Matcher, ...]:
    """The matchers of a parsed selector, its name among them. Raises BadQuery."""
    if selector.matchers.or_matchers:
        raise BadQuery("`or` between matchers is not supported")
    found = [Matcher(NAME, False, selector.name)] if selector.name else []
    if len(selector.matchers.matchers) > MATCHERS_MAX:
        raise BadQuery(f"a selector has more than {MATCHERS_MAX} matchers")
    for one in selector.matchers.matchers:
        found.append(_matcher(one))
    return tuple(found)


def _matcher(one: Any) -> Matcher:
    negated = one.op in (MatchOp.NotEqual, MatchOp.NotRe)
    if one.op in (MatchOp.Equal, MatchOp.NotEqual):
        return Matcher(one.name, negated, one.value)
    if len(one.value) > PATTERN_CHARACTERS_MAX:
        raise BadQuery(f"a pattern has more than {PATTERN_CHARACTERS_MAX:,} characters")
    try:
        return Matcher(one.name, negated, one.value, re2.compile(one.value, _OPTIONS))
    except re2.error as wrong:
        why = wrong.args[0].decode(errors="replace") if isinstance(wrong.args[0], bytes) else wrong
        raise BadQuery(f"the pattern {one.value!r} of {one.name} cannot be read: {why}") from None
    finally:
        re2.purge()  # it keeps 128 patterns, of up to 8 MiB each, that nobody may ask for again


def _options() -> Any:
    """Return how patterns are read: a point is also a line break, and nothing is printed where one is wrong."""
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    return options


_OPTIONS = _options()


def of_label(matchers: Iterable[Matcher], label: str) -> tuple[Matcher, ...]:
    """The matchers of one label."""
    return tuple(one for one in matchers if one.label == label)


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether these labels meet all conditions."""
    return all(one.matches(labels.get(one.label, "")) for one in matchers)
