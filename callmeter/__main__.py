"""The command `callmeter`: reads the settings once and hands over to a subcommand, which is imported only then."""

import importlib
import signal
import sys

import click

# Subcommand `x-y` is the click command `x_y` of `callmeter.commands.x_y`; imported on use: `--help` is quick.
COMMANDS = {
    "demo": "Everything at once, with a stream of made-up agent traces to look at.",
    "up": "Broker, Redis, worker and api together on this machine.",
    "worker": "Read events from Kafka, fold them into Redis.",
    "api": "Answer questions over HTTP, and serve the page.",
    "gateway": "Take events from SDKs over HTTP, and send them to Kafka.",
    "top": "Calls, errors, latency and cost now, in a terminal: by op, model, user.",
    "alerts": "Watch rules on what is counted, and tell who has to know.",
    "produce": "Send events from a file or a pipe to Kafka.",
    "backfill": "Send old events, after a look at which of them would be refused.",
    "events": "The JSON Schema of the events that callmeter takes.",
    "status": "How far the workers are, and what they counted.",
    "dead-letters": "Invalid messages: list them, look at one, send them again.",
    "shard": "A recreated topic: say where a worker goes on reading it.",
    "verify": "Compare rollups with call records, number by number.",
    "export": "Calls and rollups as Parquet, for DuckDB, Polars or a warehouse.",
    "rebuild": "Count all topics again beside the live state, and switch over.",
    "segments": "Sealed rollups in a directory or a bucket: list, verify, collect.",
    "backup": "Copies of all that Redis holds: make, list, restore.",
    "plan": "How much Kafka, workers and Redis a load needs.",
    "prices": "Which price a model has, and where it comes from.",
    "reprice": "Give calls that are counted the cost that they have by other prices.",
    "keys": "Access keys: who may ask the api or send events, for which projects.",
    "settings": "Every CALLMETER_ variable: what it is now, what it means.",
}

HELP = """What LLM calls cost, how long they took and how often they failed.

\b
Try it (nothing to install or configure):
    callmeter demo
\b
Against your own Kafka and Redis:
    export CALLMETER_KAFKA__BOOTSTRAP_SERVERS=kafka-1:9092
    export CALLMETER_REDIS__URL=redis://redis-1:6379/0
    callmeter worker        # as many as there are partitions
    callmeter api --port 8080
\b
Send events, then ask:
    callmeter produce events.jsonl
    callmeter status
    curl localhost:8080/calls/stats -H 'content-type: application/json' \\
        -d '{"project_id": "acme/agents", "start": "2026-06-10T00:00:00Z", "call_metrics": [{"metric": "call_count"}]}'
"""


class SettingRefused(click.ClickException):
    """A CALLMETER_ variable is wrong: a mistake of usage, told in one sentence."""

    exit_code = 2


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All subcommands, in the order in which one gets to know them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand itself; imports its module."""
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"callmeter.commands.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands, from the table above: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="callmeter", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Read the settings; a wrong one ends the run here."""
    from callmeter.logs import set_up_logging
    from callmeter.settings_reading import SettingsWrong, read_settings

    try:
        ctx.obj = read_settings()
    except SettingsWrong as wrong:
        raise SettingRefused(str(wrong)) from None
    set_up_logging(ctx.obj.log.level)


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly, with the status of an interrupted program."""
    try:
        exit_code = cli.main(prog_name="callmeter", standalone_mode=False)
    except click.ClickException as refused:
        refused.show()
        exit_code = refused.exit_code
    except (click.Abort, KeyboardInterrupt):
        exit_code = 128 + signal.SIGINT
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
