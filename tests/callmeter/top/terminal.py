"""A terminal of a given size that a program runs in, by tmux: what is typed, and what is then seen."""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType

from tests.pipeline.patience import wait_until

SEEN_TIMEOUT_S = 60.0


class Terminal:
    """`callmeter <arguments>` in a terminal of its own, until left."""

    def __init__(self, arguments: Sequence[str], width: int, height: int, variables: Mapping[str, str]) -> None:
        self._name = f"top-{uuid.uuid4().hex}"
        assignments = [f"{name}={value}" for name, value in variables.items()]
        environment = ["env", "-i", f"PATH={os.environ['PATH']}", "TERM=screen-256color", "LANG=C.UTF-8", *assignments]
        command = shlex.join([*environment, sys.executable, "-m", "callmeter", *arguments])
        # The shell outlives the program, so that one can see how it ended.
        self._tmux(
            "new-session", "-d", "-x", str(width), "-y", str(height), f"{command}; echo ended: $?; exec sleep 600"
        )
        self.width, self.height = width, height

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        subprocess.run(["tmux", "-L", self._name, "kill-server"], check=False, capture_output=True)

    def lines(self) -> list[str]:
        """Returns what is seen, line by line."""
        return self._tmux("capture-pane", "-p").splitlines()

    def text(self) -> str:
        """Returns what is seen."""
        return "\n".join(self.lines())

    def press(self, *keys: str) -> None:
        """Type keys; `Enter`, `Down`, `BSpace` and their like by these names."""
        for key in keys:
            self._tmux("send-keys", key)

    def resize(self, width: int, height: int) -> None:
        """Make the window so large."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))
        self.width, self.height = width, height

    def wait_for(self, *parts: str, without: Sequence[str] = ()) -> list[str]:
        """The lines, once all parts are seen and none of the others; fails with what is seen instead."""

        def seen() -> bool:
            text = self.text()
            return all(part in text for part in parts) and not any(part in text for part in without)

        assert wait_until(seen, SEEN_TIMEOUT_S, 0.1), f"not seen: {parts}\n{self.text()}"
        return self.lines()

    def _tmux(self, *command: str) -> str:
        # A server of its own: its socket is named after the terminal, and no configuration is read.
        run = ["tmux", "-L", self._name, "-f", "/dev/null", *command]
        return subprocess.run(run, check=True, capture_output=True, text=True, timeout=30).stdout
