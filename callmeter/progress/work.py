"""Shows how far counted work is, with rate and time left: a bar on a terminal, else a log line every few seconds."""

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOOK_S = 0.1
LOG_S = 5.0

log = logging.getLogger(__name__)


class WorkProgress:
    """A context manager around work of `total` units, named by `unit`; `total` may grow while the work goes on."""

    def __init__(self, what: str, unit: str, total: int) -> None:
        self.total = total
        self._what = what
        self._unit = unit
        self._done = 0
        self._console = Console(stderr=True)
        self._begun_s = self._shown_s = time.monotonic()
        self._bar: Progress | None = None

    def add(self, done: int) -> None:
        """Count so much more as done, and show it if it is time to."""
        self._done += done
        now_s = time.monotonic()
        if now_s - self._shown_s < (LOOK_S if self._console.is_terminal else LOG_S):
            return
        self._shown_s = now_s
        rate = self._done / (now_s - self._begun_s)
        if not self._console.is_terminal:
            left_s = round((self.total - self._done) / rate) if rate else None
            numbers = {self._unit: self._done, "of": self.total, "per_second": round(rate), "seconds_left": left_s}
            log.info(self._what, extra=numbers)
            return
        if self._bar is None:
            self._bar = _bar(self._console)
            self._bar.add_task(self._what, total=self.total, rate="")
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0], completed=self._done, total=self.total, rate=f"{rate:,.0f} {self._unit}/s"
        )

    def __enter__(self) -> "WorkProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)
