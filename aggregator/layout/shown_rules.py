"""Alert rules as they are shown to who asks the api: kept by the alerter that evaluates them, for a while, bounded."""

import msgspec

# A rule has up to a hundred groups and there may be two hundred rules; nobody reads more than so many alerts at once.
ALERTS_SHOWN_MAX = 1_000
# Kept for so long after an alerter has last said it: what nobody evaluates any more is not shown as if somebody did.
SHOWN_MS = 30_000


class ShownAlert(msgspec.Struct, frozen=True):
    """An alert that fires, or will when its condition has held for long enough; `began_us`: since when it holds."""

    labels: dict[str, str]
    annotations: dict[str, str]
    is_firing: bool
    began_us: int
    value: float | None


class ShownRule(msgspec.Struct, frozen=True):
    """A rule of a project: its condition in words, how it was evaluated last, and its alerts.

    `evaluated_us`: the instant that was looked at (None: none yet); `trouble`: why nothing is known of it, empty where
    all is well.
    """

    name: str
    project: str
    condition: str
    for_s: int
    keep_firing_for_s: int
    labels: dict[str, str]
    annotations: dict[str, str]
    evaluated_us: int | None
    trouble: str
    alerts: tuple[ShownAlert, ...]


class ShownRules(msgspec.Struct, frozen=True):
    """All rules of a file, which are evaluated each `interval_s`."""

    file: str
    interval_s: float
    rules: tuple[ShownRule, ...]


encode_shown = msgspec.json.Encoder().encode
decode_shown = msgspec.json.Decoder(ShownRules).decode
