"""Compare an HTTP answer with a golden case, as tests/cases/README.md says under "Compare"."""

import math
import re
from datetime import datetime, timedelta
from typing import Any

RELATIVE_MAX = 1e-9
# Costs of a few pico-dollars cannot be told apart more finely than a pico-dollar.
COST_ABSOLUTE_MAX = 1e-12

_COUNT_KEY = re.compile(r"count(_.*)?")
_INEXACT_KEY = re.compile(r"share|avg_.*|p\d+(\.\d+)?_.*")

Path = tuple[str | int, ...]


def differences(case: dict[str, Any], status: int, body: Any) -> list[str]:
    """Returns what differs, each with its path; empty when the answer (status and parsed body) is right.

    `case` has `status`, then `expected` (with `ranges` and `also_right` if need be) or `loc`.
    """
    if status != case["status"]:
        return [f"status: {status}, not {case['status']}: {body}"]
    if status != 200:
        return _refusal_differences(case, body)
    if case.get("path") == "/trace/usage" and isinstance(body, dict) and isinstance(body.get("call_usage"), dict):
        # Nobody asked for these calls by name, so they may come in any order.
        body = body | {"call_usage": dict(_in_order_of(case["expected"]["call_usage"], body["call_usage"]))}
    found = _compare((), case["expected"], body, case.get("ranges") or {})
    if any(not _compare((), other, body, {}) for other in case.get("also_right", [])):
        return []
    return found


def _in_order_of(wanted: dict[str, Any], actual: dict[str, Any]) -> list[tuple[str, Any]]:
    places = {key: place for place, key in enumerate(wanted)}
    return sorted(actual.items(), key=lambda pair: places.get(pair[0], len(places)))


def _refusal_differences(case: dict[str, Any], body: Any) -> list[str]:
    """The first detail must be located where the case says; for malformed JSON, begin there."""
    if "loc" not in case:
        return []
    try:
        loc = body["detail"][0]["loc"]
    except (KeyError, IndexError, TypeError):
        return [f"detail: no loc in {body}"]
    wanted = case["loc"]
    if (loc[: len(wanted)] if "body" in case else loc) == wanted:
        return []
    return [f"detail[0].loc: {loc}, not {wanted}"]


def _compare(path: Path, wanted: Any, actual: Any, ranges: Any) -> list[str]:
    """`ranges` is the part of the case's ranges that lies under this path, or None."""
    if isinstance(wanted, dict):
        return _compare_objects(path, wanted, actual, ranges or {})
    if isinstance(wanted, list):
        return _compare_lists(path, wanted, actual, ranges or {})
    if _same(path, wanted, actual, ranges):
        return []
    return [f"{_name(path)}: {actual!r}, not {wanted!r}" + (f" (or within {ranges})" if ranges else "")]


def _compare_objects(path: Path, wanted: dict[str, Any], actual: Any, ranges: Any) -> list[str]:
    if not isinstance(actual, dict):
        return [f"{_name(path)}: {actual!r} is no object"]
    found = [f"{_name((*path, key))}: missing" for key in wanted if key not in actual]
    found += [f"{_name((*path, key))}: not expected" for key in actual if key not in wanted]
    if path == ("call_usage",) and not found and list(actual) != list(wanted):
        found.append(f"call_usage: keys in the order {list(actual)}, not {list(wanted)}")
    for key in wanted.keys() & actual.keys():
        found += _compare((*path, key), wanted[key], actual[key], ranges.get(key))
    return found


def _compare_lists(path: Path, wanted: list[Any], actual: Any, ranges: Any) -> list[str]:
    if not isinstance(actual, list):
        return [f"{_name(path)}: {actual!r} is no list"]
    found = []
    if len(actual) != len(wanted):
        found.append(f"{_name(path)}: {len(actual)} entries, not {len(wanted)}")
    for index, (one, other) in enumerate(zip(wanted, actual, strict=False)):
        found += _compare((*path, index), one, other, ranges.get(str(index)))
    return found


def _same(path: Path, wanted: Any, actual: Any, allowed: Any) -> bool:
    if path in (("start",), ("end",)):
        return _same_instant(wanted, actual) and _instant(actual).utcoffset() == timedelta(0)
    if path[-1:] in (("started_at",), ("ended_at",)) and wanted is not None:
        return _same_instant(wanted, actual)
    if path[-1:] == ("timestamp",):
        return _same_instant(wanted, actual) and _instant(wanted).utcoffset() == _instant(actual).utcoffset()
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        return _same_number(str(path[-1]), wanted, actual, allowed)
    return type(wanted) is type(actual) and bool(wanted == actual)


def _same_instant(wanted: str, actual: Any) -> bool:
    try:
        return _instant(wanted) == _instant(actual)
    except (TypeError, ValueError):
        return False


def _instant(text: str) -> datetime:
    """Raises ValueError for an instant without offset: there is no zone to suppose."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no offset: {text}")
    return moment


def _same_number(key: str, wanted: float, actual: Any, allowed: Any) -> bool:
    if isinstance(actual, bool) or not isinstance(actual, (int, float)) or not math.isfinite(actual):
        return False
    counted = _COUNT_KEY.fullmatch(key) is not None
    absolute = COST_ABSOLUTE_MAX if (key.endswith("_cost") or key == "cost") and not counted else 0.0
    relative = RELATIVE_MAX if absolute or _INEXACT_KEY.fullmatch(key) else 0.0
    if allowed is None:
        return math.isclose(actual, wanted, rel_tol=relative, abs_tol=absolute)
    slack = max(absolute, relative * max(map(abs, allowed)))
    return bool(min(allowed) - slack <= actual <= max(allowed) + slack)


def _name(path: Path) -> str:
    """`call_buckets[3].p95_latency_ms`"""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "body"
