"""What one batch writes to a shard, as data: decided without I/O, applied in one step with the next offset."""

import msgspec

Key = str | bytes
Field = str | bytes | int
Value = str | bytes | int


class ShardWrite(msgspec.Struct):
    """Keys that go before all else, fields to set and delete by key, refs, slots whose versions are drawn anew by key,
    when keys expire (Unix s); of minutes, by the key of their versions, when their latest call began (0: not known).
    """

    fields: dict[Key, dict[Field, Value]] = msgspec.field(default_factory=dict)
    deletions: dict[Key, list[Field]] = msgspec.field(default_factory=dict)
    drops: list[Key] = msgspec.field(default_factory=list)
    names: dict[str, list[bytes]] = msgspec.field(default_factory=dict)
    new_versions: dict[str, set[int]] = msgspec.field(default_factory=dict)
    increments: dict[str, int] = msgspec.field(default_factory=dict)
    expiries: dict[Key, int] = msgspec.field(default_factory=dict)
    latest_starts_us: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)

    def set(self, key: Key, field: Field, value: Value) -> None:
        """Set one field of a hash."""
        fields = self.fields.get(key)
        if fields is None:
            fields = self.fields[key] = {}
        fields[field] = value
