"""Virtual environments for what we are measured against, so that its dependencies never mix with ours."""

import os
import re
import subprocess
import sys
from pathlib import Path

from bench.scale import tell

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv" / "bench"
TIMEOUT_S = 600.0


class NotInstallable(Exception):
    """A package cannot be had on this machine; the message says why, in a line."""


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment with these packages, made when first asked for. Raises NotInstallable."""
    directory = ENVIRONMENTS / "+".join(re.split(r"[=\[]", one)[0] for one in requirements)
    python, installed = directory / "bin" / "python", directory / "installed.txt"
    wanted = "\n".join(requirements)
    if installed.exists() and installed.read_text() == wanted:
        return python
    tell(f"installing {', '.join(requirements)}")
    _run([sys.executable, "-m", "venv", "--clear", str(directory)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    installed.write_text(wanted)
    return python


def start(python: Path, module: str, *arguments: str) -> "subprocess.Popen[str]":
    """A module of this repository in such an environment, its standard input and output to talk with."""
    return subprocess.Popen(
        [str(python), "-W", "ignore", "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def output_of(python: Path, module: str, *arguments: str) -> str:
    """Runs a command and returns what it prints. Raises RuntimeError when it fails, TimeoutExpired when it hangs."""
    process = start(python, module, *arguments)
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"{module} failed with exit status {process.returncode}")
    return output


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reasons = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise NotInstallable(reasons[-1] if reasons else f"exit status {done.returncode}")
