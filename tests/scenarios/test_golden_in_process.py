"""Every golden case in one process: folded by the real aggregator in any order and batching, asked of the real app."""

import random
from datetime import datetime

import pytest

from tests.pipeline.golden import DATASETS, read_dataset
from tests.pipeline.in_process import Batch, InProcess
from tests.support.answers import differences
from tests.support.folding import ROOMY


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize(("batch_messages", "shuffled"), [(5_000, False), (5_000, True), (7, False), (7, True)])
def test_cases(name: str, batch_messages: int, shuffled: bool, redis_url: str) -> None:
    """Shuffled, every message comes twice, and a writer that has nothing in memory goes on now and then."""
    dataset = read_dataset(name)
    lines = dataset.shuffled_and_doubled(seed=batch_messages) if shuffled else dataset.lines
    values = [line.value for line in lines if line.value is not None]
    rng = random.Random(batch_messages)
    batches = [
        Batch(values[at : at + batch_messages], restart=shuffled and rng.random() < 0.1)
        for at in range(0, len(values), batch_messages)
    ]
    cases = [case for case in dataset.cases if "request" in case]
    mistakes = {}
    with InProcess(redis_url, datetime.fromisoformat(dataset.settings["NOW"])) as product:
        product.fold([batches], ROOMY)
        answers = product.ask([(case["path"], case["request"]) for case in cases])
        for case, (status, body) in zip(cases, answers, strict=True):
            if found := differences(case, status, body):
                mistakes[case["name"]] = found[:5]
    assert mistakes == {}
