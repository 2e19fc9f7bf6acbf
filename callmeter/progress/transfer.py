"""Shows how far a transfer of lines is: a bar on a terminal, a log line every few seconds otherwise."""

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

LOOK_S = 0.1
LOG_S = 5.0

log = logging.getLogger(__name__)


class TransferProgress:
    """A context manager around a transfer of `bytes_total` bytes (None: nobody knows how many).

    The one who transfers adds to `bytes_done` and calls `look` now and then, as often as it likes.
    """

    def __init__(self, what: str, bytes_total: int | None) -> None:
        self.what = what
        self.bytes_done = 0
        self._bytes_total = bytes_total
        self._console = Console(stderr=True)
        self._begun_s = self._shown_s = time.monotonic()
        self._bar: Progress | None = None

    def look(self, messages: int) -> None:
        """Show the state, if it is time to; `messages` is how many were delivered so far."""
        now_s = time.monotonic()
        if now_s - self._shown_s < (LOOK_S if self._console.is_terminal else LOG_S):
            return
        self._shown_s = now_s
        rate = messages / (now_s - self._begun_s)
        if not self._console.is_terminal:
            progress = {"messages": messages, "bytes": self.bytes_done, "messages_per_second": round(rate)}
            log.info(self.what, extra=progress)
            return
        if self._bar is None:
            self._bar = _bar(self._console)
            self._bar.add_task(self.what, total=self._bytes_total, speed="")
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0], completed=self.bytes_done, speed=f"{messages:,} messages, {rate:,.0f}/s"
        )

    def __enter__(self) -> "TransferProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
