"""What a terminal of a given size shows: the head, the totals, the trend, the rows, the calls, the keys; pure.

Every line is cut to the width and all lines together to the height: what is worst or newest stands first in each part,
and what has no room is left out at the end of its part, with a word on how much that is.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from callmeter.durations import format_duration
from callmeter.top.asking import Shown
from callmeter.top.columns import columns_for, heading, row_line
from callmeter.top.view import DIMENSIONS, View
from callmeter.top.words import age, change, latency, op_name, percent, short, sparkline, usd

# Lines of the calls below the rows, of what is left beside the fixed lines; the rest is for the rows.
CALLS_SHARE = 0.36
STALE_S = 30.0
TROUBLED_SHARE = 0.05
ID_CELLS = 36
# One for one, so that colours stay where they are.
UNPRINTABLE = "\ufffd"
KEYS = (
    "o op  m model  u user  n run │ c e % l t $ sort │ / filter  ⏎ into  ⌫ back │ ? keys  q quit",
    "o op m model u user n run│c e % l t $ sort│/ filter ⏎ in ⌫ back│? keys q quit",
    "? keys  q quit",
)
HELP = (
    ("o m u n", "by op, model, user, run"),
    ("c e % l t $", "order by calls, errors, error rate, latency, tokens, cost; again: the other way round"),
    ("↑ ↓  j k", "choose a row"),
    ("⏎ or →", "into the row: only its calls, by what is then of interest"),
    ("⌫ or ←", "back to where one was"),
    ("/", "filter: letters of a name, or op:… user:… run:… trace:… call:… thread:… roots"),
    ("f N w d", "failing, newest, slowest, dearest calls below"),
    ("+ -", "a shorter, a longer window"),
    ("p", "the next project"),
    ("space", "hold still, and go on"),
    ("q", "quit"),
)


class Frame(NamedTuple):
    """What is to be seen: the last answers (None before the first), and what the keys have done since.

    `trouble`: why there is no newer answer. `typing`: what stands after `/`, None while nobody types. `note`: a line of
    whoever shows this, above the keys.
    """

    view: View
    shown: Shown | None = None
    selected: int = 0
    trends: Mapping[str, list[float]] = MappingProxyType({})
    trouble: str = ""
    typing: str | None = None
    held: bool = False
    helping: bool = False
    note: str = ""


def screen(frame: Frame, width: int, height: int) -> list[Text]:
    """The lines, `height` of them at most, none wider than `width` cells."""
    head = _head(frame, width)
    foot = [Text(frame.note, "green")] * bool(frame.note) + [_foot(frame, width)]
    if frame.helping:
        body = [Text.assemble((f"  {keys:<14}", "bold"), does) for keys, does in HELP]
    elif frame.shown is None:
        body = [Text(f"  {frame.trouble or 'asking…'}", "bold red" if frame.trouble else "")]
    else:
        body = _body(frame, frame.shown, width, height - len(head) - len(foot))
    room = height - len(head) - len(foot)
    body = body[:room] + [Text("")] * (room - len(body))
    return [_cut(line, width) for line in (*head, *body, *foot)]


def visible_rows(frame: Frame) -> list[dict[str, Any]]:
    """The rows of the answer whose names hold what was typed; none while the answer is to another dimension."""
    if frame.shown is None or frame.shown.breakdown["dimension"] != frame.view.dimension:
        return []
    wanted = frame.view.containing.lower()
    return [row for row in frame.shown.breakdown["rows"] if wanted in str(row["value"]).lower()]


def rows_room(height: int) -> int:
    """How many rows of the breakdown a terminal of this size shows."""
    return _rooms(height - _HEAD_LINES - 1)[0]


def lines_for(rows: int, calls: int) -> int:
    """How many lines show so many rows and calls, none of them left out."""
    lines = _HEAD_LINES + 1 + 5  # the keys; two rules, the titles, a row, a call
    while rows_room(lines) < rows or _rooms(lines - _HEAD_LINES - 1)[1] < calls:
        lines += 1
    return lines


_HEAD_LINES = 4
# What stands before a trend: its name, and how its sum compares with before.
_LABEL_CELLS = 14
_COMPARED = (
    ("p95", "p95_latency_ms", latency),
    ("tokens", "sum_total_tokens", short),
    ("cost", "sum_total_cost", usd),
)


def _head(frame: Frame, width: int) -> list[Text]:
    view, shown = frame.view, frame.shown
    title = Text.assemble(("callmeter ", "bold green"), (view.project_id or "no project", "bold"))
    title.append(f"  last {format_duration(view.window_s)}, against the {format_duration(view.window_s)} before", "dim")
    lines = [_spread(title, _freshness(frame), width)]
    if shown is None:
        return [*lines, Text(""), Text(""), Text("")]
    total = shown.breakdown["total"]
    # Every number is to be seen; how it was before gives way, from the right.
    written = (_totals(total, compared) for compared in (3, 2, 1, 0))
    lines.append(next((line for line in written if cell_len(line.plain) <= width), _totals(total, 0)))
    for name, key, counts, style in (
        ("calls", "count", shown.trend.calls, "cyan"),
        ("errors", "sum_error_count", shown.trend.errors, "red"),
    ):
        delta = change(total[key], (total.get("previous") or {}).get(key))
        cells = width - _LABEL_CELLS
        label = f"{name} {delta}"
        lines.append(
            Text.assemble((f"{label:<{_LABEL_CELLS}}", "dim"), (sparkline(_squeezed(counts, cells), cells), style))
        )
    return lines


def _freshness(frame: Frame) -> Text:
    if frame.trouble:
        return Text(f"NO ANSWER: {frame.trouble}", "bold red")
    if frame.shown is None:
        return Text("")
    fresh = frame.shown.fresh
    if not fresh.project_known:
        return Text("UNKNOWN PROJECT: no event seen", "bold red")
    if fresh.lag_s is None:
        return Text("nothing counted yet", "yellow")
    stale = fresh.lag_s > STALE_S
    held = "held, " if frame.held else ""
    return Text(f"{held}{'STALE: ' if stale else ''}{age(fresh.lag_s)} behind", "bold red" if stale else "dim")


def _totals(total: dict[str, Any], compared: int) -> Text:
    """The sums; of latency, tokens and cost the first `compared` with how they compare with before."""
    before = total.get("previous") or {}
    troubled = bool(total.get("sum_error_count")) and (total.get("avg_error_count") or 0) >= TROUBLED_SHARE
    line = Text.assemble(("calls ", "dim"), (short(total["count"]), "bold"), ("  errors ", "dim"))
    share = f" {percent(total['avg_error_count'])}" if total["count"] else ""
    line.append(f"{short(total['sum_error_count'])}{share}", "bold red" if troubled else "bold")
    for index, (name, key, written) in enumerate(_COMPARED):
        delta = change(total[key], before.get(key)) if index < compared else ""
        line.append(f"  {name} ", "dim").append(written(total[key]), "bold").append(f" {delta}" if delta else "", "dim")
    return line


def _rooms(lines: int) -> tuple[int, int]:
    """Return how many lines between head and foot are rows, and how many are calls; each part has a rule or two."""
    free = max(2, lines - 3)
    calls = max(1, round(free * CALLS_SHARE))
    return free - calls, calls


def _body(frame: Frame, shown: Shown, width: int, height: int) -> list[Text]:
    view = frame.view
    rows_max, calls_max = _rooms(height)
    rows = visible_rows(frame)
    layout = columns_for(width, view)
    lines = [_rule(_narrowing(view), width), heading(layout, view)]
    # The chosen row is always to be seen; else the first, which are the worst.
    first = max(0, min(frame.selected - rows_max + 1, len(rows) - rows_max))
    for index, row in enumerate(rows[first : first + rows_max], first):
        lines.append(row_line(row, layout, view, frame.trends.get(str(row["value"])), index == frame.selected))
    if not rows:
        lines.append(Text(f"  {_why_no_rows(view, shown)}", "dim"))
    lines += [Text("")] * (2 + rows_max - len(lines))
    hidden = len(rows) - first - rows_max + (shown.breakdown.get("rest") or {}).get("values", 0)
    more = f", {hidden} more row{'s' * (hidden > 1)} above" if hidden > 0 else ""
    some = "" if shown.examples.get("complete", True) else ", not all looked at"
    lines.append(_rule(f"{view.kind} calls{some}{more}", width))
    calls = shown.examples["calls"]
    # Of one op alone its name is above already: there is room for why a call failed.
    with_op = sum(word == "op" for word, _ in view.filters) != 1
    lines += [_call_line(call, with_op) for call in calls[:calls_max]]
    if not calls:
        lines.append(Text(f"  {_why_no_calls(view, shown)}", "dim"))
    return lines


def _why_no_rows(view: View, shown: Shown) -> str:
    if shown.breakdown["dimension"] != view.dimension:
        return "asking…"
    return f"no row holds {view.containing!r}" if view.containing else "no calls"


def _why_no_calls(view: View, shown: Shown) -> str:
    if not shown.examples.get("known", True):
        return "this api lists no calls"
    return "no call failed" if view.kind == "failing" else "no calls"


def _narrowing(view: View) -> str:
    parts = [f"by {DIMENSIONS[view.dimension]}"]
    parts += [f"{word}:{op_name(value)}" for word, value in view.filters]
    parts += ["roots"] * view.roots_only + [f"holding {view.containing!r}"] * bool(view.containing)
    return "  ".join(parts)


def _call_line(call: dict[str, Any], with_op: bool) -> Text:
    """Time, the whole id, op, latency, and why it failed or what it cost."""
    line = Text.assemble((f"  {call['started_at'][11:19]} ", "dim"), f"{call['id']:<{ID_CELLS}}")
    if with_op:
        line.append(f" {op_name(call['op_name'])}", "bold")
    line.append(f" {latency(call['latency_ms'])}")
    if call["failed"]:
        return line.append(f" {' '.join((call['error'] or 'failed').split())}", "red")
    return line.append(f" {', '.join(call['models'])} {usd(call['cost'])}", "dim")


def _foot(frame: Frame, width: int) -> Text:
    if frame.typing is not None:
        return Text.assemble(("/", "bold"), frame.typing, ("█", "blink"))
    if frame.helping:
        return Text("any key goes back", "dim")
    return Text(next((keys for keys in KEYS if cell_len(keys) <= width), ""), "dim")


def _rule(title: str, width: int) -> Text:
    return Text.assemble(("── ", "dim"), (title, "bold"), (" " + "─" * max(0, width - cell_len(title) - 4), "dim"))


def _spread(left: Text, right: Text, width: int) -> Text:
    """One at each end of the line; where both do not fit, the left one gives way."""
    left = _cut(left, width - cell_len(right.plain) - 1)
    return Text.assemble(left, " " * max(1, width - cell_len(left.plain) - cell_len(right.plain)), right)


def _cut(line: Text, width: int) -> Text:
    """The line as wide as there is room, and without what steers a terminal: names and errors are producers' words."""
    if not line.plain.isprintable():
        line = line.copy()
        line.plain = "".join(one if one.isprintable() else UNPRINTABLE for one in line.plain)
    if cell_len(line.plain) > width:
        line = line.copy()
        line.truncate(max(0, width), overflow="ellipsis")
    return line


def _squeezed(counts: Sequence[int], cells: int) -> list[float]:
    """The counts, neighbours added up where there are more of them than cells, or repeated where there are fewer."""
    if not counts or cells <= 0:
        return []
    if len(counts) <= cells:
        times = max(1, cells // len(counts))
        return [float(count) for count in counts for _ in range(times)]
    each = -(-len(counts) // cells)
    return [float(sum(counts[begin : begin + each])) for begin in range(0, len(counts), each)]
