"""`callmeter plan`: partitions, workers and Redis that a load needs, and what answers cost, by measured figures."""

import json
from typing import Any

import click
from pydantic import ByteSize, TypeAdapter, ValidationError

from aggregator.rollups.levels import Retention
from callmeter.durations import parse_duration_s
from callmeter.planning.capacity import make_plan
from callmeter.planning.costs import StoragePrices
from callmeter.planning.figures import FiguresWrong, read_figures
from callmeter.planning.load import BASELINE, Deployment, Load
from callmeter.planning.plan_table import as_builtins, show
from callmeter.planning.rollup_memory import Mix
from callmeter.settings import Settings

KINDS = ("calls", "minutes", "five_minutes", "hours")
BYTES = TypeAdapter(ByteSize)


class RetentionParts(click.ParamType[dict[str, int]]):
    """`7d` (all four kinds) or `calls=1d,minutes=7d`; the value is seconds by kind."""

    name = "retention"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Seconds by kind, of the kinds that are named."""
        kept: dict[str, int] = {}
        for part in value.split(","):
            kind, equals, written = part.rpartition("=")
            kinds = (kind.strip().replace("-", "_"),) if equals else KINDS
            if not set(kinds) <= set(KINDS):
                self.fail(f"{kind.strip()!r} is not kept; {', '.join(KINDS)} are.", param, ctx)
            try:
                kept |= dict.fromkeys(kinds, parse_duration_s(written))
            except ValueError as wrong:
                self.fail(f"{written.strip()!r} {wrong}", param, ctx)
        return kept


class Bytes(click.ParamType[int]):
    """`20kB`, `32GiB`, or a bare number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Whole bytes."""
        try:
            return int(BYTES.validate_python(value))
        except ValidationError:
            self.fail(f"{value!r} is not a size; write it like 500kB or 32GiB.", param, ctx)


ABOVE_0 = click.FloatRange(0, min_open=True)
PERCENT = click.FloatRange(0, 100, min_open=True)
COUNT = click.IntRange(1)
USD = click.FloatRange(0)
PRICES = StoragePrices()


@click.command(context_settings={"show_default": True, "max_content_width": 110})
@click.option("--calls-per-second", type=ABOVE_0, required=True, help="Calls a second at the busiest hour.")
@click.option("--projects", type=COUNT, default=1, help="How many projects send calls.")
@click.option("--busiest-percent", type=PERCENT, help="Calls in the busiest project.  [default: all alike]")
@click.option("--models", type=COUNT, default=BASELINE.models, help="Models in use in a project.")
@click.option("--ops", type=COUNT, default=BASELINE.ops, help="Op names in a project.")
@click.option("--users", type=click.IntRange(0), default=BASELINE.users, help="Users of a project in a day.")
@click.option("--runs", type=click.IntRange(0), default=BASELINE.runs, help="Runs of a project in a day.")
@click.option("--calls-per-trace", type=click.FloatRange(1), default=BASELINE.calls_per_trace, help="Average.")
@click.option(
    "--usage-percent",
    type=click.FloatRange(0, 100),
    default=100 * BASELINE.usage_share,
    help="How many of the calls used a model.",
)
@click.option("--message-bytes", type=Bytes(), default="1000", help="Size of an event, with inputs and outputs.")
@click.option(
    "--retention",
    type=RetentionParts(),
    multiple=True,
    metavar="[KIND=]DURATION,...",
    help=f"How long is kept what: {', '.join(KINDS)}; without a kind, all.  [default: as CALLMETER_RETENTION__… say]",
)
@click.option("--busy-percent", type=PERCENT, default=50.0, help="How busy a worker or a master may be.")
@click.option("--master-memory", type=Bytes(), default="32GB", help="Memory of one Redis master.")
@click.option("--filled-percent", type=PERCENT, default=70.0, help="How much of a master's memory data may take.")
@click.option(
    "--objects/--no-objects",
    default=None,
    help="Whether what is sealed goes into a directory or a bucket.  [default: as CALLMETER_SEGMENTS__URL says]",
)
@click.option("--replicas", type=COUNT, default=3, help="Copies of a message that Kafka keeps.")
@click.option("--usd-ram", type=USD, default=PRICES.ram_usd, help="USD for a GB of memory a month.")
@click.option("--usd-disk", type=USD, default=PRICES.disk_usd, help="USD for a GB of disk a month.")
@click.option("--usd-objects", type=USD, default=PRICES.objects_usd, help="USD for a GB in a bucket a month.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_obj
def plan(settings: Settings, /, as_json: bool, **asked: Any) -> None:
    """Estimate what a load needs: partitions, workers, Redis memory by what it is for, broker traffic, cost of answers,
    dollars a month for what is kept.

    Nothing is connected to. The figures behind it were measured by `python -m bench --record` on the machine that is
    named below the table; what is asked for beyond what was measured is scaled, and the assumptions are said.

    \b
    callmeter plan --calls-per-second 500 --projects 40
    callmeter plan --calls-per-second 1e6 --projects 2000 --models 20 --retention calls=1d,minutes=2d
    callmeter plan --calls-per-second 20e3 --busiest-percent 60 --projects 10 --json
    """
    try:
        figures = read_figures()
        load, deployment = _load(settings, asked), _deployment(asked)
    except FiguresWrong as wrong:
        raise click.ClickException(f"{wrong}; `python -m bench --record` measures it") from None
    except ValueError as wrong:
        raise click.UsageError(f"{str(wrong)[0].upper()}{str(wrong)[1:]}.") from None
    needed = make_plan(load, deployment, figures)
    if as_json:
        click.echo(json.dumps(as_builtins(load, deployment, needed, figures)))
    else:
        show(load, deployment, needed, figures)


def _load(settings: Settings, asked: dict[str, Any]) -> Load:
    kept = settings.retention.model_dump()
    for parts in asked["retention"]:
        kept |= parts
    return Load(
        calls_per_s=asked["calls_per_second"],
        projects=asked["projects"],
        mix=Mix(
            models=asked["models"],
            ops=asked["ops"],
            users=asked["users"],
            runs=asked["runs"],
            calls_per_trace=asked["calls_per_trace"],
            usage_share=asked["usage_percent"] / 100,
            views_max=settings.limits.views,
        ),
        message_bytes=asked["message_bytes"],
        retention=Retention(*(kept[kind] for kind in KINDS)),
        busiest_share=asked["busiest_percent"] and asked["busiest_percent"] / 100,
        seal_after_s=settings.segments.seal_after if settings.segments.seal else None,
        moves=bool(settings.segments.url) if asked["objects"] is None else asked["objects"],
    )


def _deployment(asked: dict[str, Any]) -> Deployment:
    return Deployment(
        busy=asked["busy_percent"] / 100,
        master_bytes=asked["master_memory"],
        filled=asked["filled_percent"] / 100,
        replicas=asked["replicas"],
        prices=StoragePrices(asked["usd_ram"], asked["usd_disk"], asked["usd_objects"]),
    )
