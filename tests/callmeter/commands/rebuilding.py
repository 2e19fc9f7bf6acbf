"""Running `callmeter rebuild` as a program, beside a pipeline whose worker goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.pipeline.golden import read_dataset
from tests.pipeline.operator import Said, operate
from tests.pipeline.pipeline import Pipeline
from tests.servers.clustered import with_cluster

DATASET = read_dataset("disorder")
REBUILD = ("rebuild", "--grace", "1s")  # an api that is asked meanwhile may need more: it looks once a second
PATIENCE_S = 200.0  # of a busy machine; the tests themselves end after 300


@contextmanager
def running(pipeline: Pipeline, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A `callmeter` command while it runs; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "callmeter", *arguments],
        env={f"CALLMETER_{name}": text for name, text in with_cluster(pipeline.settings | settings).items()}
        | {"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rebuild(pipeline: Pipeline, *arguments: str) -> Said:
    """Run it to its end."""
    return operate(pipeline.settings, *REBUILD, *arguments)
