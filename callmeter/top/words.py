"""Numbers in few characters, as a narrow column shows them; the page says them the same way."""

import math

from aggregator.time_units import DAY_S

NOTHING = "–"
_THOUSANDS = ("", "k", "M", "G", "T")
# From so many times as much on, a factor says more than percent.
_FACTOR_MIN = 3


def short(number: float | None) -> str:
    """1234567 is `1.23M`; up to 9,999 it is written out."""
    if number is None:
        return NOTHING
    if abs(number) < 10_000:
        return f"{number:,.0f}" if float(number).is_integer() else _three_digits(number)
    power = min(len(_THOUSANDS) - 1, int(math.log10(abs(number)) // 3))
    return f"{_three_digits(number / 1000**power)}{_THOUSANDS[power]}"


def latency(ms: float | None) -> str:
    """`812 ms`, `1.23 s`, `2m03s`, `1h02m`."""
    if ms is None:
        return NOTHING
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.{2 if ms < 10_000 else 1}f} s"
    minutes = int(ms // 60_000)
    return f"{minutes}m{int(ms // 1000) % 60:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def usd(dollars: float | None) -> str:
    """`$1,234`, `$0.42`, `$0.0031`: as many digits as tell it from nothing."""
    if dollars is None:
        return NOTHING
    if dollars == 0:
        return "$0"
    if abs(dollars) >= 10_000:
        return f"${short(dollars)}"
    if abs(dollars) >= 0.1:
        return f"${dollars:,.{0 if abs(dollars) >= 1_000 else 2}f}"
    return f"${dollars:.2g}" if abs(dollars) >= 0.0001 else "<$0.0001"


def percent(share: float | None) -> str:
    """`0%`, `0.4%`, `7.5%`, `34%`."""
    if share is None:
        return NOTHING
    if 0 < share < 0.0001:
        return "<0.01%"
    hundredths = share * 100
    return f"{hundredths:.0f}%" if hundredths >= 10 or not hundredths else f"{hundredths:.1f}%"


def change(now: float | None, before: float | None) -> str:
    """How a number compares with the one before: `+12%`, `-3%`, `x4.2`, `±0%`; empty where it cannot be said."""
    if now is None or not before:
        return ""
    ratio = now / before
    if ratio >= _FACTOR_MIN:
        return f"×{ratio:.2g}" if ratio < 100 else f"×{short(round(ratio))}"
    hundredths = round((ratio - 1) * 100)
    return f"{hundredths:+}%" if hundredths else "±0%"


def age(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h`, `5 d`; a dash where it is not known."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    for unit_s, unit, until_s in ((1, "s", 120), (60, "min", 7_200), (3_600, "h", 172_800)):
        if seconds < until_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / DAY_S:.0f} d"


def op_name(name: str) -> str:
    """`weave:///acme/agents/op/answer:9f3c…` is `answer:9f3c`: what tells the ops of one project apart."""
    if not name.startswith("weave") or "/op/" not in name:
        return name
    op, colon, version = name.rpartition("/op/")[2].partition(":")
    return f"{op}{colon}{version[:6]}"


def sparkline(numbers: list[float], cells: int) -> str:
    """Bars of one line; the newest is the last, and what is beyond `cells` on the left is left out."""
    shown = numbers[-cells:] if cells > 0 else []
    most = max(shown, default=0)
    if not most:
        return " " * len(shown)
    return "".join(" " if not number else "▁▂▃▄▅▆▇█"[min(7, int(number / most * 7.999))] for number in shown)


def _three_digits(number: float) -> str:
    digits = max(0, 2 - int(math.log10(abs(number)))) if number else 0
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
