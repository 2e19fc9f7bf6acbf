"""House rules that no other tool checks: sizes, docstrings, names, and who may know Redis, Kafka, HTTP, the clock."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("ingest", "aggregator", "api", "callmeter", "tests", "bench")

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 45  # a screen

# Words that say nothing about what a thing is; whole words of snake_case and CamelCase names.
# fmt: off
EMPTY_WORDS = frozenset({
    "util", "utils", "helper", "helpers", "common", "core", "base", "manager", "handler", "processor", "service",
    "data", "info", "item", "obj",
})
# fmt: on

# Openings of docstrings that cannot be understood without what stands above; a docstring has a subject, or a verb.
LEANING = re.compile(
    r"(The same|Of|As|By|It|Its|They|Their|This|These|Those|Such|So|Also|And|But|Or|Nor|Even|Then|Too"
    r"|Likewise|Here|Not|With|Without|From|Until|To|In|On|At|For|After|Before|While|If|Because|Again|Still)\b"
)
# A function does something: its docstring opens with a verb, not with a clause.
VERBLESS = re.compile(r"(What|Which|Where|When)\b")

LOG_CALLS = frozenset({"log.debug", "log.info", "log.warning", "log.error", "log.exception"})

# Names that asyncio and uvicorn call us by.
GIVEN_NAMES = frozenset({"data_received", "timeout_keep_alive_handler"})

# Who may import what; a folder allows all that is in it. `tests` and `bench` may import anything.
IMPORT_ALLOWED = {
    "redis": (
        "aggregator/store",
        "callmeter",
    ),
    "confluent_kafka": ("ingest", "callmeter"),
    "starlette": ("api", "ingest/http", "callmeter"),
    "uvicorn": ("api", "callmeter"),
    "obstore": ("aggregator/objects",),
    "pyarrow": ("callmeter/parquet",),
}

# The rest is told the time. Elapsed time (`perf_counter`) is no clock: it cannot decide what a call counts for.
CLOCKS = frozenset({"time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "datetime.now", "date.today"})
CLOCK_ALLOWED = (
    "callmeter",
    "ingest/kafka/watermarks.py",  # how long to wait for the broker
    "api/access/basic_auth.py",  # a fixed `now` of the answers must not keep revoked keys alive
)

ENVIRONMENT = frozenset({"os.environ", "os.getenv"})
ENVIRONMENT_ALLOWED = (
    "callmeter/settings_reading.py",
    "callmeter/local/processes.py",  # sets what its children read
    "callmeter/metrics/shared_values.py",  # how prometheus-client is told that processes share
)

FREE = ("tests", "bench")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: its path from the root, with slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    def names(self) -> Iterator[tuple[str, int]]:
        """Names of the module, its folders, classes and functions, each with its line; a test's name is a sentence."""
        yield from ((part, 1) for part in Path(self.path).with_suffix("").parts)
        for node in ast.walk(self.tree):
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("test_"):
                yield node.name, node.lineno

    def imports(self) -> Iterator[tuple[str, int]]:
        """Top-level names of imported packages, each with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], node.lineno

    def uses(self) -> Iterator[tuple[str, int]]:
        """`time.time`, `os.environ` and their like, under whatever name they were imported, each with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute):
                yield ".".join(ast.unparse(node).split(".")[-2:]), node.lineno
            elif isinstance(node, ast.ImportFrom):
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def faults_of_size(module: Module) -> Iterator[str]:
    """Yields each file and each function that is too long."""
    lines = module.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{module.path}: {lines} lines, at most {FILE_LINES_MAX}"
    for node in ast.walk(module.tree):
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno > FUNCTION_LINES_MAX:
            yield f"{module.path}:{node.lineno}: {node.name} is longer than {FUNCTION_LINES_MAX} lines"


def faults_of_docstring(module: Module) -> Iterator[str]:
    """Yields a module without a line at the top that says what it is for. An empty file is there only to make a
    package."""
    if module.text and not ast.get_docstring(module.tree):
        yield f"{module.path}:1: no docstring"


def faults_of_opening(module: Module) -> Iterator[str]:
    """A docstring that leans on another one, or a function's that has no verb; a test's is the claim that it checks."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            said = ast.get_docstring(node) or ""
            if (found := LEANING.match(said)) or (isinstance(node, Function) and (found := VERBLESS.match(said))):
                yield f"{module.path}:{getattr(node, 'lineno', 1)}: a docstring opens with {found[0]!r}"


def faults_of_naming(module: Module) -> Iterator[str]:
    """Empty words in names."""
    for name, line in module.names():
        if name not in GIVEN_NAMES and (empty := EMPTY_WORDS.intersection(words(name))):
            yield f"{module.path}:{line}: {name} has the empty word {min(empty)}"


def faults_of_import(module: Module) -> Iterator[str]:
    """A client library outside the files that are there to know it."""
    for package, line in module.imports():
        if package in IMPORT_ALLOWED and not lies_in(module.path, (*IMPORT_ALLOWED[package], *FREE)):
            yield f"{module.path}:{line}: may not import {package}"


def faults_of_borrowing(module: Module) -> Iterator[str]:
    """A module of tests that another one imports from: what two of them need lies in a module of its own."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in imported:
            if any(part.startswith("test_") for part in name.split(".")):
                yield f"{module.path}:{node.lineno}: imports {name}, which is a module of tests or in one"


def faults_of_surroundings(module: Module) -> Iterator[str]:
    """The clock or the environment read outside the thin shell."""
    for name, line in module.uses():
        if name in CLOCKS and not lies_in(module.path, (*CLOCK_ALLOWED, *FREE)):
            yield f"{module.path}:{line}: reads the clock ({name}); pass `now`"
        if name in ENVIRONMENT and not lies_in(module.path, (*ENVIRONMENT_ALLOWED, *FREE)):
            yield f"{module.path}:{line}: reads the environment ({name}); that is for the settings"


def faults_of_logging(module: Module) -> Iterator[str]:
    """An event of the log whose text is not constant: data goes into fields, so that events can be counted."""
    if lies_in(module.path, FREE):
        return
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in LOG_CALLS
            and (len(node.args) != 1 or isinstance(node.args[0], ast.JoinedStr | ast.BinOp))
        ):
            yield f"{module.path}:{node.lineno}: the text of a log event is not constant"


RULES = (
    faults_of_size,
    faults_of_docstring,
    faults_of_opening,
    faults_of_logging,
    faults_of_naming,
    faults_of_import,
    faults_of_borrowing,
    faults_of_surroundings,
)


def words(name: str) -> set[str]:
    """`RollupKey2` and `rollup_key` → {"rollup", "key"}."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def lies_in(path: str, allowed: Iterable[str]) -> bool:
    """Whether the file is one of those allowed or in one of the folders allowed."""
    return any(path == place or path.startswith(f"{place}/") for place in allowed)


def modules() -> Iterator[Module]:
    """All Python files of the repository."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield Module(path.relative_to(ROOT).as_posix(), path.read_text())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_are_kept(rule: Callable[[Module], Iterator[str]]) -> None:
    """No file of the repository breaks the rule."""
    faults = [fault for module in modules() for fault in rule(module)]
    assert not faults, "\n".join(faults)


def test_allowed_places_exist() -> None:
    """An entry of an allow-list that leads nowhere is a leftover."""
    listed = {*CLOCK_ALLOWED, *ENVIRONMENT_ALLOWED, *(place for places in IMPORT_ALLOWED.values() for place in places)}
    assert not [place for place in sorted(listed) if not (ROOT / place).exists()]


LONG_FUNCTION = '"""Doc."""\ndef fold() -> None:\n' + "    pass\n" * (FUNCTION_LINES_MAX + 1)

BROKEN = {
    "long file": ("api/a.py", '"""Doc."""\n' + "\n" * FILE_LINES_MAX, f"{FILE_LINES_MAX + 1} lines"),
    "long function": ("api/a.py", LONG_FUNCTION, "fold is longer"),
    "no docstring": ("api/a.py", "x = 1\n", "no docstring"),
    "leaning docstring": ("api/a.py", '"""The same for others."""\n', "opens with 'The same'"),
    "leaning docstring of a test": (
        "tests/a.py",
        '"""Doc."""\ndef test_a(): \n    """By id too."""\n',
        "opens with 'By'",
    ),
    "leaning docstring of a benchmark": (
        "bench/a.py",
        '"""Doc."""\nclass A: \n    """As it is."""\n',
        "opens with 'As'",
    ),
    "docstring without a verb": ("api/a.py", '"""Doc."""\ndef f(): \n    """What is there."""\n', "opens with 'What'"),
    "data in a log event": ("api/a.py", '"""Doc."""\nlog.info(f"folded {n}")\n', "not constant"),
    "arguments of a log event": ("api/a.py", '"""Doc."""\nlog.info("folded %s", n)\n', "not constant"),
    "empty word in a file name": ("api/cell_utils.py", '"""Doc."""\n', "empty word utils"),
    "empty word in a class": ("api/a.py", '"""Doc."""\nclass CellManager: ...\n', "empty word manager"),
    "empty word in a function": ("tests/a.py", '"""Doc."""\nasync def get_data(): ...\n', "empty word data"),
    "redis in the fold": ("aggregator/fold.py", '"""Doc."""\nfrom redis.client import Redis\n', "import redis"),
    "kafka in the api": ("api/a.py", '"""Doc."""\nimport confluent_kafka as k\n', "import confluent_kafka"),
    "buckets in the fold": ("aggregator/fold.py", '"""Doc."""\nfrom obstore.store import S3Store\n', "import obstore"),
    "parquet in the aggregator": ("aggregator/a.py", '"""Doc."""\nfrom pyarrow import parquet\n', "import pyarrow"),
    "http in ingest": ("ingest/a.py", '"""Doc."""\nimport starlette.routing\n', "import starlette"),
    "helper of another test": ("tests/a.py", '"""Doc."""\nfrom tests.api.test_app import ask\n', "a module of tests"),
    "a module of tests": ("tests/a.py", '"""Doc."""\nfrom tests.api import test_app\n', "a module of tests"),
    "clock": ("aggregator/a.py", '"""Doc."""\nimport time\ntime.monotonic()\n', "reads the clock"),
    "clock by name": ("api/a.py", '"""Doc."""\nfrom time import time\n', "reads the clock"),
    "clock of datetime": ("api/a.py", '"""Doc."""\nimport datetime\ndatetime.datetime.now()\n', "reads the clock"),
    "environment": ("callmeter/a.py", '"""Doc."""\nimport os\nos.environ["A"]\n', "reads the environment"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_rules_see_what_breaks_them(name: str) -> None:
    """Each rule finds its fault, and nothing else is found."""
    path, text, fault = BROKEN[name]
    found = [found for rule in RULES for found in rule(Module(path, text))]
    assert len(found) == 1, found
    assert fault in found[0]


def test_names_that_only_contain_an_empty_word_pass() -> None:
    """Whole words count: `database`, `informed` and `Metadata` are fine, and so are the sentences that name tests."""
    text = '"""Doc."""\ndef informed_database_score(): ...\nclass Metadata: ...\ndef test_data(): ...\n'
    assert not list(faults_of_naming(Module("api/routes.py", text)))
