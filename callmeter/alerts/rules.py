"""What a file of alert rules may say: the kinds of rules, receivers and silences, checked field by field."""

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api.contract.stats_request import CallsFilter
from callmeter.alerts.receivers import Receiver
from callmeter.alerts.rule_fields import Dimension, DurationS, LabelName, Name, SumMetric, Template, WindowS

# Each rule is a question a second.
RULES_MAX = 200
RECEIVERS_MAX = 20
SILENCES_MAX = 1_000
WEEK_S = 604_800


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)


class _Rule(_Section):
    """What all rules have."""

    name: Name
    project: str = Field(min_length=1, max_length=256)
    filter: CallsFilter | None = None
    group_by: Dimension | None = None
    for_s: DurationS = Field(default=0, alias="for")
    keep_firing_for_s: DurationS = Field(default=0, alias="keep_firing_for")
    severity: Name = "warning"
    receivers: tuple[str, ...] | None = Field(default=None, min_length=1)
    labels: dict[LabelName, str] = Field(default={}, max_length=20)
    summary: Template = "{rule}: {value} (threshold {threshold}), {project} {group}"
    description: Template = ""

    @property
    def window_s(self) -> int:
        """The window that the alert speaks of; of several the longest."""
        raise NotImplementedError


class _Bounded(_Rule):
    """A rule on a value that is too high or too low."""

    above: float | None = Field(default=None, allow_inf_nan=False)
    below: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_bound(self) -> "_Bounded":
        if (self.above is None) == (self.below is None):
            raise ValueError("needs `above` or `below`, one of them")
        return self

    def is_beyond(self, value: float) -> bool:
        """Whether a value is one to tell of."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    @property
    def threshold(self) -> float:
        """The bound."""
        return self.above if self.above is not None else self.below or 0.0


class Threshold(_Bounded):
    """The sum of a metric over a window."""

    kind: Literal["threshold"]
    metric: SumMetric
    window: WindowS

    @property
    def window_s(self) -> int:
        return self.window


class Rate(_Bounded):
    """The sum of a metric over a window, by time."""

    kind: Literal["rate"]
    metric: SumMetric
    window: WindowS
    per: Literal["second", "minute", "hour", "day"] = "second"

    @property
    def window_s(self) -> int:
        return self.window


class Ratio(_Bounded):
    """The sum of a metric over that of another; by itself the share of calls that failed."""

    kind: Literal["ratio"]
    metric: SumMetric = "error_count"
    of: SumMetric = "call_count"
    window: WindowS
    min_calls: int = Field(default=1, ge=1)

    @property
    def window_s(self) -> int:
        return self.window


class Percentile(_Bounded):
    """A percentile of latency (milliseconds) or of what calls used."""

    kind: Literal["percentile"]
    metric: SumMetric | Literal["latency_ms"] = "latency_ms"
    percentile: float = Field(ge=0, le=100, allow_inf_nan=False)
    window: WindowS
    min_calls: int = Field(default=1, ge=1)

    @property
    def window_s(self) -> int:
        return self.window


class Cost(_Bounded):
    """Dollars per hour or day."""

    kind: Literal["cost"]
    per: Literal["hour", "day"]
    window: WindowS | None = None

    @property
    def window_s(self) -> int:
        return self.window or {"hour": 3_600, "day": 86_400}[self.per]


class Change(_Bounded):
    """How much a metric has changed against the same window a week before: 0.5 is half as much again."""

    kind: Literal["change"]
    metric: SumMetric
    window: WindowS
    min_calls: int = Field(default=1, ge=1)

    @property
    def window_s(self) -> int:
        return self.window


class BurnWindows(_Section):
    """An alert of a burn rate: it burns `factor` times too fast over the long window, and still does over the short."""

    long: WindowS
    short: WindowS
    factor: float = Field(gt=0, allow_inf_nan=False)


# Sloth's and the SRE workbook's, for 30 days: 2 % of the budget in an hour, 5 % in 6 h, 10 % in a day, 10 % in 3 days.
BURN_WINDOWS = tuple(
    BurnWindows.model_validate({"long": long, "short": short, "factor": factor})
    for long, short, factor in (("1h", "5m", 14.4), ("6h", "30m", 6), ("1d", "2h", 3), ("3d", "6h", 1))
)


class BurnRate(_Rule):
    """How many times faster than the objective allows errors come, over several windows at once."""

    kind: Literal["burn_rate"]
    objective: float = Field(gt=0, lt=1, allow_inf_nan=False)
    windows: tuple[BurnWindows, ...] = Field(default=BURN_WINDOWS, min_length=1, max_length=8)
    min_calls: int = Field(default=1, ge=1)

    @property
    def window_s(self) -> int:
        return max(one.long for one in self.windows)


class NoCalls(_Rule):
    """No call at all in a window; with `group_by`, of a group that had some within `seen_within`."""

    kind: Literal["no_data"]
    window: WindowS
    seen_within: WindowS = 86_400

    @property
    def window_s(self) -> int:
        return self.window


class Stale(_Rule):
    """Answers are older than so long: events are not counted."""

    kind: Literal["stale"]
    above: DurationS
    filter: None = None
    group_by: None = None

    @property
    def window_s(self) -> int:
        return 0


Rule = Threshold | Rate | Ratio | Percentile | Cost | Change | BurnRate | NoCalls | Stale


class Silence(_Section):
    """Nobody is told of a rule (`*`: of any) for a while; what still fires at the end is told then."""

    rule: str
    group: str | None = None
    from_: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime
    comment: str = ""

    def covers(self, rule: str, group: str | None, now: datetime) -> bool:
        """Whether it silences this at `now`."""
        return (
            self.rule in ("*", rule)
            and (self.group is None or self.group == group)
            and (self.from_ is None or self.from_ <= now)
            and now < self.until
        )


class _Mistake(NamedTuple):
    place: tuple[str | int, ...]
    sentence: str


class RuleFile(_Section):
    """A whole file. `project` and `receivers` are those of all rules that do not name their own; `page` is the address
    of the api's page, which links lead to.
    """

    project: str | None = None
    page: str = Field(default="", pattern=r"^(https?://.*)?$", max_length=1_000)
    receivers: tuple[Receiver, ...] = Field(max_length=RECEIVERS_MAX)
    rules: tuple[Annotated[Rule, Field(discriminator="kind")], ...] = Field(max_length=RULES_MAX)
    silences: tuple[Silence, ...] = Field(default=(), max_length=SILENCES_MAX)

    @model_validator(mode="before")
    @classmethod
    def _projects(cls, given: Any) -> Any:
        """Rules without a project get the file's."""
        if isinstance(given, dict) and isinstance(given.get("rules"), list) and given.get("project") is not None:
            rules = [{"project": given["project"], **one} if isinstance(one, dict) else one for one in given["rules"]]
            return given | {"rules": rules}
        return given

    def mistakes(self) -> list[_Mistake]:
        """Return what is wrong between the parts: names that come twice, or that nobody has; and parts without
        anything.
        """
        # Not a least length of the field: pydantic would tell of it wherever all that is in it is wrong.
        empty = [part for part in ("rules", "receivers") if not getattr(self, part)]
        found = [_Mistake((part,), "is empty") for part in empty]
        names = [one.name for one in self.receivers]
        for part, of_part in (("rules", [one.name for one in self.rules]), ("receivers", names)):
            for at, name in enumerate(of_part):
                if name in of_part[:at]:
                    found.append(_Mistake((part, at, "name"), f"{name} is the name of another one too"))
        for at, rule in enumerate(self.rules):
            for name in rule.receivers or ():
                if name not in names:
                    found.append(_Mistake(("rules", at, "receivers"), f"{name} is no receiver of this file"))
        for at, silence in enumerate(self.silences):
            if silence.rule != "*" and silence.rule not in [one.name for one in self.rules]:
                found.append(_Mistake(("silences", at, "rule"), f"{silence.rule} is no rule of this file"))
        return found

    def receivers_of(self, rule: Rule) -> tuple[str, ...]:
        """The names of those who are told of a rule."""
        return rule.receivers if rule.receivers is not None else tuple(one.name for one in self.receivers)

    def is_silenced(self, rule: str, group: str | None, now: datetime) -> bool:
        """Whether nobody is to be told now."""
        return any(one.covers(rule, group, now) for one in self.silences)
