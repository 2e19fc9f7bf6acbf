"""Code that runs a few steps at a time, in a thread of its own, while everything else stands still."""

import _thread
from collections.abc import Callable


class Killed(BaseException):
    """Raised where the code pauses: its process is killed. No cleanup of the code under test may catch it."""


TO_THE_END = 1_000_000


class Turns:
    """Runs one task after the other. The task calls `pause` before each of its steps; `run` lets it go on."""

    def __init__(self) -> None:
        self.busy = False
        self._steps_left = 0
        self._until: str | None = None
        self._killed = False
        self._failure: BaseException | None = None
        # Two batons: who waits for one of them stands still until the other side releases it.
        self._mine, self._theirs = _thread.allocate_lock(), _thread.allocate_lock()
        self._mine.acquire()
        self._theirs.acquire()

    def run(self, task: Callable[[], None], steps_max: int, until: str | None) -> None:
        """Go on for so many steps, or to the next step of that name; begin `task` where nothing has begun.

        Raises what the task raises.
        """
        self._steps_left, self._until = steps_max, until
        if not self.busy:
            self.busy = True
            _thread.start_new_thread(self._work, (task,))
        self._hand_over()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def kill(self) -> None:
        """End the task where it pauses."""
        if self.busy:
            self._killed = True
            self._hand_over()
            self._killed = False

    def pause(self, step: str) -> None:
        """Pauses the task that calls it: a place where others may come between."""
        if not self._steps_left or step == self._until:
            self._theirs.release()
            self._mine.acquire()
        if self._killed:
            raise Killed
        self._steps_left -= 1

    def _hand_over(self) -> None:
        self._mine.release()
        self._theirs.acquire()

    def _work(self, task: Callable[[], None]) -> None:
        self._mine.acquire()
        try:
            task()
        except Killed:
            pass
        except BaseException as failure:
            self._failure = failure
        self.busy = False
        self._theirs.release()
