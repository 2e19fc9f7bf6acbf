"""Two engines write the same, byte for byte, whatever messages come; and what errs in one thing is noticed."""

from typing import Any

import pytest
import redis

from aggregator.writing.fold_batch import Batch, FoldedBatch, fold_batch
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard_state import ShardState
from ingest.engine import IN_PYTHON, Engine
from tests.differential.messages import steps_of
from tests.differential.mutants import MUTANTS
from tests.differential.outcome import all_keys, outcomes
from tests.support.folding import ROOMY, SHARD, TINY

# A compiled one is to be named here.
ENGINES = {"Python": IN_PYTHON}
SEEDS = range(4)


pytestmark = pytest.mark.single_redis


@pytest.fixture
def client(redis_url: str) -> Any:
    return redis.Redis.from_url(redis_url)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("limits", [ROOMY, TINY], ids=["roomy", "tiny"])
def test_engines_write_the_same(client: Any, engine: Engine, limits: ShardLimits) -> None:
    """Generated messages and mutated ones, in steps of any size, with writers that begin anew."""
    for seed in SEEDS:
        steps = steps_of(seed)
        expected = outcomes(client, IN_PYTHON, steps, limits)
        for number, (found, wanted) in enumerate(zip(outcomes(client, engine, steps, limits), expected, strict=True)):
            assert found == wanted, f"seed {seed}, step {number}"


def test_messages_are_of_all_kinds(client: Any) -> None:
    """Valid and invalid ones, for many reasons; and repeated ones."""
    found = [one for seed in SEEDS for one in outcomes(client, IN_PYTHON, steps_of(seed), TINY)]
    assert sum(len(one.letters) for one in found) > 30
    assert sum(one.folded[1] for one in found) > 400
    reasons = {letter.invalid.reason for one in found for letter in one.letters}
    assert len(reasons) > 3
    assert int(found[-1].keys[f"{SHARD.tag}:shard".encode()][0][b"duplicates"]) > 10


def test_folding_writes_nothing(client: Any) -> None:
    """The step alone writes what an engine has folded, whatever that reads for it."""
    looks = []

    def fold(batch: Batch, state: ShardState) -> FoldedBatch:
        before = all_keys(client)
        folded = fold_batch(batch, state)
        assert all_keys(client) == before
        looks.append(before)
        return folded

    outcomes(client, IN_PYTHON._replace(fold=fold), steps_of(0), TINY)
    assert len(looks) > 5


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants_are_told_apart(client: Any, mutant: str) -> None:
    """An engine that errs in one thing is noticed with these very messages."""
    for seed in SEEDS:
        steps = steps_of(seed)
        expected = outcomes(client, IN_PYTHON, steps, ROOMY)
        if outcomes(client, MUTANTS[mutant], steps, ROOMY) != expected:
            return
    pytest.fail("it is told from the one in Python by no step")
