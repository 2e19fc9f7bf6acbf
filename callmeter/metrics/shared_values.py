"""Counters that several processes add to, so that whichever of them is scraped tells of all.

prometheus-client keeps them in files of a directory that it is told by a variable of the environment, and chooses the
kind of its values when it is imported; here both are set before the processes part.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def sharing_values() -> Iterator[Path]:
    """Within, metrics that are made keep their values in this directory, which is removed at the end."""
    alone = values.ValueClass
    with TemporaryDirectory(prefix="callmeter-metrics-") as directory:
        os.environ[VARIABLE] = directory
        values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        try:
            yield Path(directory)
        finally:
            values.ValueClass = alone
            del os.environ[VARIABLE]


def registry_of_all(directory: Path) -> CollectorRegistry:
    """Return what all processes have counted so far."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    return registry
