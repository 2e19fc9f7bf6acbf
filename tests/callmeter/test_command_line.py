"""The command line: quick help without imports, versions, mistakes told in a sentence, Ctrl-C without noise."""

import os
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from callmeter import __main__ as command_line


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a shell does."""
    command = [sys.executable, "-m", "callmeter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60, check=False)


def test_version() -> None:
    """`--version` names the program and its version."""
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.split()[0] == "callmeter"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_teaches(option: str) -> None:
    """Help lists every subcommand and shows what to type."""
    done = run(option)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in command_line.COMMANDS)
    assert "callmeter produce events.jsonl" in done.stdout


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_subcommand_has_help(name: str) -> None:
    """Every subcommand that is listed exists and says what it does."""
    done = CliRunner().invoke(command_line.cli, [name, "--help"], env=dict.fromkeys(os.environ))
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: cli {name}")


def test_help_imports_nothing_heavy() -> None:
    """`--help` is there at once: it imports neither Kafka nor Redis nor pydantic."""
    heavy = "{'confluent_kafka', 'redis', 'pydantic', 'numpy'} & set(sys.modules)"
    script = (
        f"import sys; from callmeter.__main__ import cli; cli.main(['-h'], standalone_mode=False); assert not {heavy}"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["settings"], {"CALLMETER_API__PORT": "80a"}, "Error: CALLMETER_API__PORT='80a' is wrong"),
        (["worker"], {"CALLMETER_KAFKA__TOPIC": "x"}, "did you mean CALLMETER_KAFKA__TOPICS?"),
        (["wroker"], {}, "No such command 'wroker'"),
        (["produce", "no-such-file"], {}, "'no-such-file' does not exist"),
        (["api", "--host", "0.0.0.0"], {"CALLMETER_API__AUTH": "false"}, "Without access keys"),
    ],
)
def test_mistakes_of_usage(arguments: list[str], variables: dict[str, str], sentence: str) -> None:
    """A wrong variable, command or option ends with status 2 and a sentence."""
    done = run(*arguments, **variables)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a command ends with the status of an interrupted program and without a traceback."""
    # A shell that starts the tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    @click.command()
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(command_line.LazyGroup, "get_command", lambda *_: interrupted)
    monkeypatch.setattr(sys, "argv", ["callmeter", "settings"])
    try:
        with pytest.raises(SystemExit) as ended:
            command_line.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
