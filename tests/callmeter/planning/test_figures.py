"""Figures: curves between what was measured, sections by benchmark, and what is missing is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.planning.figures import FIGURES_FILE, Curve, FiguresWrong, figures_of, read_figures
from tests.support.capacity import SECTIONS, round_figures

POINTS = st.dictionaries(st.floats(1, 1e9), st.floats(1e-3, 1e9), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("amount", "cost"), [(0, 10), (1, 10), (10, 20), (100, 40), (1_000, 40 * 2**0.5), (10_000, 80), (10**9, 80)]
)
def test_curve(amount: float, cost: float) -> None:
    """Through the points, a power law between them, level beyond them."""
    assert Curve.of({10_000: 80, 1: 10, 100: 40}).at(amount) == pytest.approx(cost)


def test_cheaper_by_chance() -> None:
    """More never costs less, though it was measured so."""
    assert Curve.of({1: 10, 10: 9, 100: 11}).costs == (10, 10, 11)


@given(POINTS, st.lists(st.floats(0, 1e10), min_size=2, max_size=2))
def test_curve_never_falls(points: dict[float, float], amounts: list[float]) -> None:
    """A larger amount costs at least as much."""
    curve = Curve.of(points)
    assert curve.at(min(amounts)) <= curve.at(max(amounts)) * (1 + 1e-9)


def test_sections_are_read() -> None:
    """Names are taken apart at their dots, and each section says where it comes from."""
    figures = figures_of(SECTIONS)
    assert figures.worker_us_per_event == Curve((1_000, 16_000), (100, 400))
    assert figures.slot_bytes["h"] == Curve((1, 10_000), (100, 1_000))
    assert figures.answer_ms == {"30 d sums": Curve((10**6, 10**8), (11, 21))}
    assert figures.view_bytes == 50
    assert figures.sealed_share == {"records": 0.1, "m": 0.2}
    assert (figures.moved_share, figures.object_share) == ({"records": 0.02}, {"records": 0.09})
    assert [(source.benchmark, source.short) for source in figures.sources] == [
        ("ingest_ceiling", False),
        ("scaling", True),
        ("memory", False),
        ("sealing", False),
        ("answers", False),
    ]


@pytest.mark.parametrize(
    ("left_out", "named"),
    [("ingest_ceiling", "worker_us_per_event"), ("memory", "worker_resident_bytes"), ("answers", "answer_floor_ms")],
)
def test_missing_figure(left_out: str, named: str) -> None:
    """A benchmark that was never recorded is a figure that is missing, by its name."""
    with pytest.raises(FiguresWrong, match=f"{named} is missing"):
        figures_of({name: section for name, section in SECTIONS.items() if name != left_out})


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_no_figure(value: float) -> None:
    """Zero, less than that, and no number at all are refused: they cannot have been measured."""
    with pytest.raises(FiguresWrong, match="view_bytes is not a number above 0"):
        round_figures(view_bytes=value)


def test_recorded_figures_are_whole() -> None:
    """The figures in the repository can be reckoned with, at every level and for every question of the benchmark."""
    figures = read_figures()
    assert set(figures.slot_bytes) == set(figures.model_bytes) == {"m", "f", "h"}
    assert len(figures.answer_ms) == 5
    assert all(source.measured and source.machine for source in figures.sources)


def test_recorded_figures_name_no_path() -> None:
    """The file holds sections of numbers with their date and machine, nothing else."""
    for section in json.loads(Path(FIGURES_FILE).read_text()).values():
        assert set(section) == {"measured", "machine", "short", "figures"}
        assert all(isinstance(value, float) for value in section["figures"].values())
