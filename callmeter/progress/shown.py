"""What is seen of long work: a bar on a terminal, log lines every few seconds otherwise."""

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

LOOK_S = 0.1
LOG_S = 5.0

log = logging.getLogger(__name__)

_Self = TypeVar("_Self", bound="Shown")


class Shown:
    """A context manager around work that is shown now and then, as often as it likes to be; the bar goes at its end."""

    def __init__(self, what: str, *columns: ProgressColumn) -> None:
        self._what = what
        self._columns = columns
        self._console = Console(stderr=True)
        self._begun_s = self._shown_s = time.monotonic()
        self._bar: Progress | None = None

    def elapsed_if_due_s(self) -> float | None:
        """Seconds since the work began, if it is time to show how far it is; else None."""
        now_s = time.monotonic()
        if now_s - self._shown_s < (LOOK_S if self._console.is_terminal else LOG_S):
            return None
        self._shown_s = now_s
        return now_s - self._begun_s

    def show(self, done: int, total: int | None, rate: str, fields: Mapping[str, object]) -> None:
        """Show how much is done: `rate` is in the bar's column of that name, `fields` are those of a log line."""
        if not self._console.is_terminal:
            log.info(self._what, extra=dict(fields))
            return
        if self._bar is None:
            self._bar = Progress(*self._columns, console=self._console, transient=True)
            self._bar.add_task(self._what, total=total, rate="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, rate=rate)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
