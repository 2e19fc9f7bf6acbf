"""Counts of tokens as tests state them, decoded the product's ways."""

from typing import Any

import msgspec

from aggregator.calls.event import UsageCounts
from aggregator.calls.stated_usage import StatedSummary, own_usage, usage_of


def counts_of(**stated: Any) -> UsageCounts:
    """The counts of a call that used one model."""
    return own_usage({"usage": {"m": stated}})["m"]


def usage_under(counts: dict[str, Any]) -> dict[str, Any]:
    """A usage that states these under names of the table."""
    stated: dict[str, Any] = {}
    for name, count in counts.items():
        key, _, inner = name.partition(".")
        if inner:
            stated.setdefault(key, {})[inner] = count
        else:
            stated[key] = count
    return stated


def typed_counts(stated: dict[str, Any]) -> UsageCounts:
    """The counts of one model's usage, decoded in one typed pass."""
    summary = msgspec.json.encode({"usage": {"m": stated}})
    return usage_of(msgspec.json.decode(summary, type=StatedSummary))["m"]
