"""Label matchers of a selector: the four of PromQL, fully anchored, and what they say of one label."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from promql_parser import MatchOp

from api.prometheus.bad_query import BadQuery
from api.prometheus.metrics import NAME

# A longer pattern is a list of names that a filter of the other endpoints takes better.
PATTERN_CHARACTERS_MAX = 1_000


class Matcher(NamedTuple):
    """One condition on a label; a label that is absent is the empty string."""

    label: str
    negated: bool
    value: str
    pattern: "re.Pattern[str] | None" = None

    def matches(self, value: str) -> bool:
        """Whether a label of this value meets the condition."""
        found = self.value == value if self.pattern is None else self.pattern.fullmatch(value) is not None
        return found != self.negated


def matchers_of(selector: Any) -> tuple[Matcher, ...]:
    """The matchers of a parsed selector, its name among them. Raises BadQuery."""
    if selector.matchers.or_matchers:
        raise BadQuery("`or` between matchers is not supported")
    found = [Matcher(NAME, False, selector.name)] if selector.name else []
    for one in selector.matchers.matchers:
        found.append(_matcher(one))
    return tuple(found)


def _matcher(one: Any) -> Matcher:
    negated = one.op in (MatchOp.NotEqual, MatchOp.NotRe)
    if one.op in (MatchOp.Equal, MatchOp.NotEqual):
        return Matcher(one.name, negated, one.value)
    if len(one.value) > PATTERN_CHARACTERS_MAX:
        raise BadQuery(f"a pattern has more than {PATTERN_CHARACTERS_MAX:,} characters")
    if re.search(r"\([^)]*[*+{][^)]*\)\s*[*+{]", one.value):
        raise BadQuery("a pattern repeats what is repeated: write it without nested repetition")
    try:
        return Matcher(one.name, negated, one.value, re.compile(one.value, re.DOTALL))
    except re.error as wrong:
        raise BadQuery(f"the pattern {one.value!r} of {one.name} cannot be read: {wrong}") from None


def of_label(matchers: Iterable[Matcher], label: str) -> tuple[Matcher, ...]:
    """The matchers of one label."""
    return tuple(one for one in matchers if one.label == label)


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether these labels meet all conditions."""
    return all(one.matches(labels.get(one.label, "")) for one in matchers)
