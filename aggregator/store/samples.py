"""Samples that a shard keeps for its operator, beside its steps: they decide nothing, and may be lost."""

from collections.abc import Mapping
from typing import Any

from aggregator.layout.unread import MODELS_EXPLAINED_MAX, ProjectModel, unread_fields


def note_unread(client: Any, key: str, names: Mapping[ProjectModel, list[str]]) -> None:
    """Note names in usage that was not read, where there is room for it."""
    if client.hlen(key) + len(names) <= MODELS_EXPLAINED_MAX:
        client.hset(key, mapping=unread_fields(names))
