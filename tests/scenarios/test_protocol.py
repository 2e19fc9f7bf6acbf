"""Worker, shard and Redis in every order that a state machine can think of: nothing is lost, nothing counted twice.

The worker and the shard are the real ones; the log, the consumer and Redis are models (`tests.protocol`), of which
`tests/test_protocol_store.py` shows that the model of Redis is honest. CALLMETER_TEST_PROTOCOL_EXAMPLES=100000 explores
more, at random.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from aggregator.layout import id_hashes, postings
from aggregator.layout.hash_pages import PageTable
from aggregator.objects.frame_cache import DamagedObject
from aggregator.objects.object_store import ObjectMissing
from aggregator.writing import closing, ids, posting_moving, posting_page_moving
from tests.protocol.collecting_mutants import OBJECT_MUTANTS
from tests.protocol.machine import Protocol
from tests.protocol.merging_machine import MergingProtocol
from tests.protocol.merging_mutants import MERGING_MUTANTS
from tests.protocol.minute_mutants import MINUTE_MUTANTS
from tests.protocol.mutants import MUTANTS
from tests.protocol.objects_machine import ObjectsProtocol
from tests.protocol.restoring import Restoring, RestoringUnclosed
from tests.protocol.worker_process import Parts
from tests.support.small_chunks import small_chunks

# About a minute; each interleaves some thirty events, and up to twenty commands to Redis in most of them.
EXAMPLES = 300
# Of these each has more that happens to objects.
OBJECTS_EXAMPLES = 30
RESTORING_EXAMPLES = 50
# Of these nearly each merges frames.
MERGING_EXAMPLES = 60
# Mutants are looked for from many seeds, a few examples each: one seed may search for minutes in vain what most others
# find in seconds, and which ones do changes with every module that is loaded, as hypothesis draws constants from them.
MUTANT_EXAMPLES = 100
MUTANT_SEEDS = range(30)

CHAOS_EXAMPLES = int(os.environ.get("CALLMETER_TEST_PROTOCOL_EXAMPLES", 0))

settings.register_profile(
    "protocol",
    max_examples=EXAMPLES,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
settings.register_profile(
    "chaos", settings.get_profile("protocol"), max_examples=CHAOS_EXAMPLES or EXAMPLES, derandomize=False
)
PROTOCOL = settings.get_profile("chaos" if CHAOS_EXAMPLES else "protocol")
MUTANT = settings(
    settings.get_profile("protocol"),
    max_examples=MUTANT_EXAMPLES,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

# Wrong numbers, numbers of what is not there, or pointers into what is not there or is something else.
WRONG = (AssertionError, KeyError, DamagedObject, ObjectMissing)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Workers say each time that they read again."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def hashes_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that have moved are often found where others are: of each hash there are but two bits."""
    monkeypatch.setattr(id_hashes, "HASH_BITS", 2)


@pytest.fixture(autouse=True)
def same_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are the same each time: what is found at random is to be found again."""
    for moving in (ids, posting_moving):
        monkeypatch.setattr(moving, "new_table", lambda: PageTable(bytes(16)))


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Postings of a day move to several pages, and these to several objects."""
    monkeypatch.setattr(posting_moving, "ENTRIES_PER_PAGE", 4)
    monkeypatch.setattr(posting_moving, "BLOCKS_PER_STEP", 1)
    monkeypatch.setattr(postings, "BLOCK_BYTES_MAX", 10)
    for limit in ("PAGES_PER_SECTION", "SECTIONS_PER_OBJECT_MAX"):
        monkeypatch.setattr(posting_page_moving, limit, 2)
    monkeypatch.setattr(posting_page_moving, "ENTRIES_AGAIN_MIN", 1)


@pytest.fixture(autouse=True)
def few_cells_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes are closed in several steps."""
    monkeypatch.setattr(closing, "CELLS_PER_STEP", 4)


@pytest.fixture(autouse=True)
def few_calls_per_chunk() -> Iterator[None]:
    """Records are sealed when two are together."""
    with small_chunks(2):
        yield


def is_noticed(machine: type[Protocol], wrong: tuple[type[Exception], ...]) -> bool:
    """Whether the state machine fails in one of the ways that tell that something is wrong; others are raised."""
    for number in MUTANT_SEEDS:
        try:
            run_state_machine_as_test(seed(number)(machine), settings=MUTANT)
        except wrong:
            return True
    return False


@pytest.mark.timeout(0 if CHAOS_EXAMPLES else 300)
def test_protocol() -> None:
    """A shard holds at every moment what its messages below the next offset come to; in the end, what all come to."""
    run_state_machine_as_test(Protocol, settings=PROTOCOL)


@pytest.mark.timeout(0 if CHAOS_EXAMPLES else 300)
def test_restoring() -> None:
    """A shard holds just that too where backups are restored at any moment, whatever workers are in the middle of."""
    run_state_machine_as_test(Restoring, settings=settings(PROTOCOL, max_examples=CHAOS_EXAMPLES or RESTORING_EXAMPLES))


def test_restoring_keeps_workers_out() -> None:
    """A restore beside which workers write goes wrong, and the state machine notices."""
    assert is_noticed(RestoringUnclosed, WRONG)


# A search is not about time: on a slow machine that does much else one may take minutes.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", [*MUTANTS, *MINUTE_MUTANTS])
def test_every_rule_is_needed(mutant: str) -> None:
    """The protocol fails without any one of its rules, and the state machine notices."""

    class Mutant(Protocol):
        parts: Parts = (MUTANTS | MINUTE_MUTANTS)[mutant]

    assert is_noticed(Mutant, WRONG)


@pytest.mark.timeout(0 if CHAOS_EXAMPLES else 300)
def test_protocol_of_objects() -> None:
    """All of it holds, too, where objects are long out of reach, and a grace passes after Redis has fallen back."""
    examples = CHAOS_EXAMPLES or OBJECTS_EXAMPLES
    run_state_machine_as_test(ObjectsProtocol, settings=settings(PROTOCOL, max_examples=examples))


@pytest.mark.parametrize("mutant", OBJECT_MUTANTS)
def test_every_rule_of_objects_is_needed(mutant: str) -> None:
    """Objects are missing without any one of their rules, and the state machine notices."""

    class Mutant(ObjectsProtocol):
        parts: Parts = OBJECT_MUTANTS[mutant]

    assert is_noticed(Mutant, (ObjectMissing,))


@pytest.mark.timeout(0 if CHAOS_EXAMPLES else 300)
def test_protocol_of_merging() -> None:
    """All of it holds, too, where frames of a day's pieces are merged while calls come for any of them."""
    examples = CHAOS_EXAMPLES or MERGING_EXAMPLES
    run_state_machine_as_test(MergingProtocol, settings=settings(PROTOCOL, max_examples=examples))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", MERGING_MUTANTS)
def test_every_rule_of_merging_is_needed(mutant: str) -> None:
    """Cells are lost without any one of its rules, and the state machine notices."""

    class Mutant(MergingProtocol):
        parts: Parts = MERGING_MUTANTS[mutant]

    assert is_noticed(Mutant, WRONG)
