"""How far a transfer of lines is, in messages and bytes."""

from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from callmeter.progress.shown import Shown


class TransferProgress(Shown):
    """A context manager around a transfer of `bytes_total` bytes (None: nobody knows how many).

    The one who transfers adds to `bytes_done` and calls `look` now and then, as often as it likes.
    """

    def __init__(self, what: str, bytes_total: int | None) -> None:
        super().__init__(
            what,
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self.bytes_done = 0
        self._bytes_total = bytes_total

    def look(self, messages: int) -> None:
        """Show the state, if it is time to; `messages` is how many were delivered so far."""
        if (elapsed_s := self.elapsed_if_due_s()) is None:
            return
        rate = messages / elapsed_s
        fields = {"messages": messages, "bytes": self.bytes_done, "messages_per_second": round(rate)}
        self.show(self.bytes_done, self._bytes_total, f"{messages:,} messages, {rate:,.0f}/s", fields)
