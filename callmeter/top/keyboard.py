"""The keys of a terminal, one by one and without echo, until left."""

import os
import re
import select
import sys
import termios
import tty
from types import TracebackType

from callmeter.top.keys import BACKSPACE, DOWN, ENTER, ESCAPE, LEFT, RIGHT, UP

_NAMED = {
    "\x1b[A": UP,
    "\x1b[B": DOWN,
    "\x1b[C": RIGHT,
    "\x1b[D": LEFT,
    "\x1bOA": UP,
    "\x1bOB": DOWN,
    "\x1bOC": RIGHT,
    "\x1bOD": LEFT,
    "\r": ENTER,
    "\n": ENTER,
    "\x7f": BACKSPACE,
    "\x08": BACKSPACE,
    "\x1b": ESCAPE,
}
# A sequence that begins with the escape character, or any one character.
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|[\s\S]")
_READ_BYTES = 1_024


class Keyboard:
    """Keys of standard input, as the names of `keys.py` or the characters themselves."""

    def __init__(self) -> None:
        self._file = sys.stdin.fileno()
        self._before: list[object] = []

    def __enter__(self) -> "Keyboard":
        self._before = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]  # as it was given

    def read(self, wait_s: float) -> list[str]:
        """The keys since the last time; waits for one as long as this."""
        if not select.select([self._file], [], [], wait_s)[0]:
            return []
        return named(os.read(self._file, _READ_BYTES).decode(errors="replace"))


def named(typed: str) -> list[str]:
    """Return what a terminal sent, key by key; keys that have no name here are left out."""
    keys = [_NAMED.get(key, key) for key in _KEY.findall(typed)]
    return [key for key in keys if not key.startswith("\x1b")]
