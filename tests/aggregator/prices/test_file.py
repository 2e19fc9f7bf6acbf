"""The price file: exact as written, and errors that name the place."""

from decimal import Decimal
from pathlib import Path

import pytest

from aggregator.prices.file import ENTRIES_MAX, FILE_BYTES_MAX, PriceEntry, PriceFileError, load_price_file
from aggregator.prices.file import parse_price_file as parse
from tests.support.paths import CASES


def entry(text: str) -> PriceEntry:
    (only,) = parse(f"prices:\n  - {text}\n", "prices.yaml").entries
    return only


def pattern(model: str) -> PriceEntry:
    return entry(f'{{model: "{model}", input: 1}}')


def test_the_file_of_the_golden_cases() -> None:
    """All fields of all entries, in the order of the file."""
    file = load_price_file(CASES / "prices.yaml")
    assert file.name == "prices.yaml"
    assert len(file.entries) == 13
    assert file.entries[9].model_dump() == {
        "model": "acme-shared",
        "project": "acme/agents",
        "from_us": None,
        "input": Decimal("0.7"),
        "output": Decimal("0.9"),
        "cache_read": None,
        "cache_creation": None,
    }
    assert file.entries[5].from_us == 1_778_544_000_000_000  # 02:00+02:00 is midnight


@pytest.mark.parametrize(
    ("written", "exact"),
    [("0.0000005", "0.0000005"), ("0.1", "0.1"), ("2.", "2"), (".5", "0.5"), ("+3", "3"), ("1e-7", "0.0000001"),
     ("0", "0"), ("1000000", "1000000"), ('"2.50"', "2.5"), ("0.12345678901234567890123", "0.12345678901234567890123"),
     ("010", "10")],
)  # fmt: skip
def test_prices_are_exact(written: str, exact: str) -> None:
    """A price is exactly what is written: no float comes between, and no octal."""
    assert entry(f"{{model: m, input: {written}}}").input == Decimal(exact)


@pytest.mark.parametrize(
    "written",
    ["-1", "-0.0", ".nan", "nan", ".inf", "Infinity", "1_000", "0x10", "'1,5'", "$3", "true", "''", "[1]", "{a: 1}",
     "!!float 1.5", "1000000.01", "1e400", "1" * 41, "١", "~", ""],
)  # fmt: skip
def test_what_is_no_price(written: str) -> None:
    """Anything but a plain number from 0 to the limit is refused, naming the entry and the field."""
    with pytest.raises(PriceFileError, match=r"^prices\.yaml, entry 1, `input` must be .*USD per million.*\.$"):
        entry(f"{{model: m, input: {written}}}")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("{model: m}", "`input` is missing."),
        ("{input: 1}", "`model` is missing."),
        ("{model: , input: 1}", "`model` must be text."),
        ("{model: [m], input: 1}", "`model` must be text."),
        ("{model: m, input: 1, project: [p]}", "`project` must be text."),
        (
            "{model: m, input: 1, outputs: 2}",
            "`outputs` is unknown; known are model, project, from, input, output, cache_read, cache_creation.",
        ),
        ("{model: m, input: 1, cache_read: free}", "`cache_read` must be a number of USD per million tokens,"),
        ("{model: m, input: 1, from: soon}", "`from` must be an instant like 2026-05-11T12:00:00Z, not 'soon'."),
        ("{model: m, input: 1, from: 2026-05-11}", "`from` must be an instant like"),
        ("{model: m, input: 1, from: 1778500800}", "`from` must be an instant like"),
        ("{model: m, input: 1, from: 2026-02-30T00:00:00Z}", "`from` must be an instant like"),
    ],
)
def test_other_mistakes(written: str, sentence: str) -> None:
    """Each mistake is told in one sentence with the file, the number of the entry and the field."""
    with pytest.raises(PriceFileError) as refused:
        parse(f"prices:\n  - {{model: fine, input: 1}}\n  - {written}\n", "prices.yaml")
    assert str(refused.value).startswith(f"prices.yaml, entry 2, {sentence}")
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("name", ["from_us", "is_pattern", "model_config"])
def test_fields_of_ours_are_unknown_in_the_file(name: str) -> None:
    """A price file may have the documented keys only, not the fields of our classes."""
    with pytest.raises(PriceFileError, match=f"`{name}` is unknown"):
        entry(f"{{model: m, input: 1, {name}: 1}}")


@pytest.mark.parametrize(
    "text",
    ["", "prices:", "prices: 3", "prices: {}", "- {model: m, input: 1}", "{}", "prices: []\nmore: 1", "prices: [1]",
     "prices: [{model: m, input: 1", "a: &a [*a]", "prices: &a [*a]", "[" * 50_000, "\0",
     "prices: !!python/name:os.system", "prices: [{? [a] : b}]", "--- {prices: []}\n--- {prices: []}"],
)  # fmt: skip
def test_what_is_no_price_file(text: str) -> None:
    """Anything else that YAML can be, or cannot, is refused in a sentence."""
    with pytest.raises(PriceFileError, match=r"^prices\.yaml.*\.$"):
        parse(text, "prices.yaml")


def test_a_key_twice() -> None:
    """A price file that states two prices for one class is refused: neither is taken."""
    with pytest.raises(PriceFileError, match="line 4: `input` comes twice"):
        parse("prices:\n  - model: m\n    input: 1\n    input: 2\n", "prices.yaml")


def test_null_is_absent() -> None:
    """Optional fields may be there without a value; names are text whatever they look like."""
    assert entry("{model: 5, project: ~, from: null, input: 1, output: , cache_read: ~}") == entry(
        '{model: "5", input: 1}'
    )
    assert entry('{model: "", project: "", input: 1}').project == ""


def test_no_entries() -> None:
    """An empty list is a file without prices."""
    assert parse("prices: []", "prices.yaml").entries == ()


def test_from_is_an_instant() -> None:
    """Quoted or not, with any offset; a missing offset is UTC."""
    noon_us = 1_778_500_800_000_000
    for written in ("2026-05-11T12:00:00Z", '"2026-05-11T14:00:00+02:00"', "2026-05-11 12:00:00"):
        assert entry(f"{{model: m, input: 1, from: {written}}}").from_us == noon_us


@pytest.mark.parametrize(
    ("written", "matching", "other"),
    [
        ("gpt-4o", ["gpt-4o"], ["gpt-4o-mini", "GPT-4o", "a gpt-4o", "gpt-4o\n"]),
        ("gpt-4o*", ["gpt-4o", "gpt-4o-mini", "gpt-4o\n"], ["gpt-4", "x-gpt-4o"]),
        ("*", ["", "x", "a\nb"], []),
        ("gemini-*-flash", ["gemini-2.5-flash", "gemini--flash"], ["gemini-flash", "gemini-2-flash-lite"]),
        ("a.b?[c]*", ["a.b?[c]", "a.b?[c]d"], ["axb?[c]", "a.bx[c]", "a.b?c"]),
        ("*ab*ab", ["abab", "xabyab", "ababab"], ["ab", "aba", "abxa"]),
        ("a*a", ["aa", "aba"], ["a"]),
        ("a**b", ["ab", "axb"], ["a"]),
    ],
)
def test_only_the_star_is_special(written: str, matching: list[str], other: list[str]) -> None:
    """`*` is any text, also none and lines; everything else is itself, in its own case."""
    assert [name for name in matching + other if pattern(written).matches(name)] == matching


@pytest.mark.timeout(10)
def test_no_name_makes_matching_slow() -> None:
    """Many stars and a name that nearly matches: still done at once."""
    assert not pattern("*a" * 30 + "*b").matches("a" * 1_024)


def test_limits(tmp_path: Path) -> None:
    """The last entry and the last byte that are accepted, and the first refused."""
    line = "- {model: m, input: 1}\n"
    path = tmp_path / "prices.yaml"
    assert len(parse("prices:\n" + line * 5, "prices.yaml").entries) == 5
    with pytest.raises(PriceFileError, match=rf"^prices\.yaml has {ENTRIES_MAX + 1} entries, more than {ENTRIES_MAX}"):
        parse("prices: [" + "1," * (ENTRIES_MAX + 1) + "]", "prices.yaml")
    path.write_text("prices: []".ljust(FILE_BYTES_MAX))
    assert load_price_file(path).entries == ()
    path.write_text("prices: []".ljust(FILE_BYTES_MAX + 1))
    with pytest.raises(PriceFileError, match="larger than"):
        load_price_file(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Absent, a directory, not text: the same kind of error."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    for name, reason in (("none.yaml", "cannot be read"), (".", "cannot be read"), ("binary.yaml", "not UTF-8")):
        with pytest.raises(PriceFileError, match=reason):
            load_price_file(tmp_path / name)
