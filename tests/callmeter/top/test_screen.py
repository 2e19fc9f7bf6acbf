"""The screen at any size: nothing is wider or longer than the terminal, and what matters most is never left out."""

import pytest

from callmeter.top.screen import Frame, lines_for, screen
from tests.callmeter.top.looks import VIEW, frame, shown

SIZES = [(80, 24), (200, 50), (100, 30), (60, 20), (40, 12), (80, 8), (300, 90)]


def text(at: Frame, width: int, height: int) -> list[str]:
    return [line.plain for line in screen(at, width, height)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("selected", [0, 7, 11])
def test_it_fits(width: int, height: int, selected: int) -> None:
    """The screen has as many lines as there are, none wider than the terminal, whichever row is chosen."""
    lines = screen(frame(selected=selected, note="a note"), width, height)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width


def test_names_do_not_steer_the_terminal() -> None:
    """An escape sequence in what somebody else has written is seen, not obeyed."""
    lines = text(frame(note="\x1b[2Jgone\x07"), 100, 30)
    assert any("\ufffd[2Jgone" in line for line in lines)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (100, 30)])
def test_what_is_never_left_out(width: int, height: int) -> None:
    """All totals, the worst row with its numbers, the newest failing call with its whole id, the age, the keys."""
    printed = "\n".join(text(frame(), width, height))
    for part in ("72.4k", "5,229 7.2%", "4.44 s", "72.4M", "$72.43", "0.4 s behind"):
        assert part in printed, part
    worst = next(line for line in printed.splitlines() if "op-0:v1" in line)
    assert [part in worst for part in ("50k", "5,000", "10%", "4.44 s", "$50.00")] == [True] * 5
    assert "12:30:59 019e6b0b-8685-7988-98bd-000000000000" in printed
    assert "q quit" in printed


def test_a_small_terminal_cuts_the_end_of_each_part() -> None:
    """A terminal of 80x24 shows the first rows and the newest calls, in order, and says how many rows have no room."""
    lines = text(frame(), 80, 24)
    ops = [number for line in lines for number in range(12) if f"op-{number}:v1" in line]
    assert ops == list(range(len(ops)))
    assert len(ops) >= 8
    assert f"{12 + 3 - len(ops)} more rows" in "\n".join(lines)
    ids = [number for line in lines for number in range(12) if f"98bd-{number:012}" in line]
    assert ids == list(range(len(ids)))
    assert len(ids) >= 5


def test_a_large_terminal_shows_all() -> None:
    """A terminal of 200x50 shows every row and every column."""
    lines = text(frame(), 200, 50)
    assert all(any(f"op-{number}:v1" in line for line in lines) for number in range(12))
    assert all(
        title in "\n".join(lines)
        for title in ("TREND", "CALLS↓", "±", "ERRORS", "RATE", "P50", "P95", "TOKENS", "COST")
    )
    assert "+100%" in next(line for line in lines if "op-1:v1" in line)


def test_the_chosen_row_is_always_seen() -> None:
    """Choosing a row that has no room moves the rows."""
    for selected in range(12):
        chosen = [line for line in text(frame(selected=selected), 80, 24) if line.startswith("›")]
        assert len(chosen) == 1
        assert f"op-{selected}:v1" in chosen[0]


def test_trouble_is_told_without_colour() -> None:
    """Rows with many errors have a mark, and stale, unknown and missing answers have a word."""
    first, second = [line for line in text(frame(selected=-1), 80, 24) if ":v1 " in line and "op-" in line][:2]
    assert (first[0], second[0]) == ("!", " ")
    assert "STALE: 5 min behind" in text(Frame(VIEW, shown(lag_s=300)), 80, 24)[0]
    assert "UNKNOWN PROJECT" in text(Frame(VIEW, shown(known=False)), 80, 24)[0]
    assert "NO ANSWER: gone" in text(frame(trouble="gone"), 80, 24)[0]
    assert "asking…" in "".join(text(Frame(VIEW), 80, 24))
    assert "gone" in "".join(text(Frame(VIEW, trouble="gone"), 80, 24))


def test_answers_to_another_question_are_not_shown_as_rows() -> None:
    """No rows are shown until those by model come: those by op would be taken for models."""
    printed = "\n".join(text(frame()._replace(view=VIEW._replace(dimension="model")), 80, 24))
    assert "op-0:v1" not in printed
    assert "asking…" in printed


def test_narrowing_is_told() -> None:
    """Filters and what was typed stand above the rows, and rows that do not hold it are gone."""
    narrowed = frame()._replace(view=VIEW._replace(filters=(("user", "ann"),), containing="op-11", roots_only=True))
    lines = text(narrowed, 80, 24)
    assert "by op  user:ann  roots  holding 'op-11'" in lines[4]
    assert [number for line in lines for number in range(12) if f"op-{number}:v1" in line] == [11]
    nothing = frame()._replace(view=VIEW._replace(containing="zebra"))
    assert "no row holds 'zebra'" in "\n".join(text(nothing, 80, 24))


@pytest.mark.parametrize("calls", [0, 1, 10])
@pytest.mark.parametrize("rows", [0, 1, 12, 100])
def test_lines_for(rows: int, calls: int) -> None:
    """A screen so long leaves out neither a row nor a call."""
    lines = text(Frame(VIEW, shown(rows, calls), selected=-1), 120, lines_for(rows, calls))
    assert sum("op-" in line and ":v1" in line for line in lines) == rows
    assert sum("98bd-" in line for line in lines) == calls
