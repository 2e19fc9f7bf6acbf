"""Several processes that do the same, kept running: one that ends by itself is started again, all stop when told to.

The parent does nothing else, so that nothing it does can end it; a child whose parent is gone stops too.
"""

import logging
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

log = logging.getLogger(__name__)

# Between two looks at the children: how long it takes at most to notice that one has ended.
LOOK_S = 0.1
# A child that ends at once would end again: the next is started later and later, up to this.
PAUSE_S_MAX = 10.0
PAUSE_S_MIN = 0.5
# Whoever has run so long was not ended by how it was started.
STEADY_S = 10.0
# Children finish what is under way; after this they are ended.
STOP_S_MAX = 15.0
# How often a child looks whether its parent is still there.
PARENT_LOOK_S = 1.0

Run = Callable[["ProcessCounts"], None]


class ProcessCounts:
    """How many processes there should be, and how many there are: the same to each of them."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._running = mmap.mmap(-1, wanted)  # shared with all processes that are forked from now on

    @property
    def running(self) -> int:
        """How many run."""
        return sum(self._running[: self.wanted])

    def note(self, position: int, is_running: bool) -> None:
        """Whether this one runs."""
        self._running[position] = is_running


class _Child:
    def __init__(self) -> None:
        self.pid = 0
        self.started_s = 0.0
        self.start_from_s = 0.0
        self.pause_s = PAUSE_S_MIN


def supervise(runs: Sequence[Run]) -> bool:
    """Fork a process for each of `runs` and keep it running, until SIGTERM or SIGINT. Whether all then ended in order.

    To be called before any thread is started. Each `run` returns when its process is told to stop by SIGTERM.
    """
    process_counts, children = ProcessCounts(len(runs)), [_Child() for _ in runs]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: told.append(caught))
    while not told:
        for position, (child, run) in enumerate(zip(children, runs, strict=True)):
            _keep_running(child, position, run, process_counts)
        time.sleep(LOOK_S)
    return _stop(children)


def _keep_running(child: _Child, position: int, run: Run, process_counts: ProcessCounts) -> None:
    now_s = time.monotonic()
    if child.pid:
        status = _ended(child.pid)
        if status is None:
            return
        process_counts.note(position, is_running=False)
        steady = now_s - child.started_s > STEADY_S
        child.pause_s = PAUSE_S_MIN if steady else min(PAUSE_S_MAX, 2 * child.pause_s)
        child.start_from_s = now_s + (0 if steady else child.pause_s)
        log.error("a process ended by itself; another is started", extra={"pid": child.pid, "exit_status": status})
        child.pid = 0
    if now_s >= child.start_from_s:
        child.started_s = now_s
        process_counts.note(position, is_running=True)
        child.pid = _fork(run, process_counts)


def _fork(run: Run, process_counts: ProcessCounts) -> int:
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        _be_child(run, process_counts, parent)
    return pid


def _be_child(run: Run, process_counts: ProcessCounts, parent: int) -> NoReturn:
    """Run, and leave without any of what the parent has to do at its end."""
    status = 1
    try:
        # A terminal's Ctrl-C reaches all processes; the parent tells its children.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Told before it has begun, or again at its end, it leaves; in between `run` hears of it by its own means.
        signal.signal(signal.SIGTERM, _leave)
        threading.Thread(target=_stop_without_parent, args=(parent,), daemon=True).start()
        run(process_counts)
        status = 0
    except _ToldToStop:
        status = 0
    except BaseException:
        log.exception("a process failed")
    finally:
        logging.shutdown()
        os._exit(status)


class _ToldToStop(BaseException):
    """The process was told to stop."""


def _leave(*_: object) -> NoReturn:
    raise _ToldToStop


def _stop_without_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(children: Sequence[_Child]) -> bool:
    left = {child.pid for child in children if child.pid}
    for pid in left:
        os.kill(pid, signal.SIGTERM)
    deadline_s, in_order = time.monotonic() + STOP_S_MAX, True
    while left:
        for pid in list(left):
            status = _ended(pid)
            if status is not None:
                left.discard(pid)
                in_order = in_order and status == 0
        if left and time.monotonic() > deadline_s:
            log.error("processes did not stop in time and are killed", extra={"pids": sorted(left)})
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            deadline_s += STOP_S_MAX
        time.sleep(LOOK_S)
    return in_order


def _ended(pid: int) -> int | None:
    """The exit status of a child that has ended, negative for a signal; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
