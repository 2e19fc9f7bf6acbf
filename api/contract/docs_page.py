"""The page at /docs: what one can ask, by example, and what an event is, on one self-contained HTML page."""

import json
import re
from functools import cache
from html import escape
from typing import get_args

from markdown_it import MarkdownIt

from aggregator.calls.event_page import event_page
from api.contract.docs_examples import EXAMPLES, Example
from api.contract.stats_request import AggregationType, CallMetricSpec, CallsFilter, UsageMetricSpec

# Characters of a list or object that is kept on one line: with its key it fits in one of two columns.
_WIDTH = 48

# What a /calls/stats request can hold beside the window; the names are those of its schema.
_ASKABLE = (
    ("call_metrics", get_args(CallMetricSpec.model_fields["metric"].annotation), "In one row per bucket."),
    ("usage_metrics", get_args(UsageMetricSpec.model_fields["metric"].annotation), "In one row per bucket and model."),
    ("aggregations", list(AggregationType), "Of each metric; <code>sum</code> where nothing is said."),
    (
        "percentiles",
        (),
        "Of each metric, any numbers from 0 to 100, answered under names like <code>p99.9_latency_ms</code>. "
        "Exact up to 50 values, beyond that within half a percent of rank or better.",
    ),
    ("filter", tuple(CallsFilter.model_fields), "All fields that are given apply; any value of a list will do."),
    (
        "granularity",
        (),
        "Seconds per bucket; without it five minutes for a window of up to two hours, an hour up to twelve, "
        "six hours up to three days, half a day up to fourteen, else a day. The answer says what was used.",
    ),
    ("timezone", (), "An IANA name: buckets begin on its clock, over changes of the clock too."),
)

_STATUSES = (
    ("401", "No key, or none that is known."),
    ("403", "The key does not read this project, whether the project exists or not."),
    ("413", "The body is over 1 MiB, or more distinct calls are asked than <code>limit</code>."),
    ("422", "The request is not understood; each problem comes with its place (<code>loc</code>) and a sentence."),
    ("503", "Redis is away; ask again after <code>Retry-After</code> seconds."),
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6773; --paper: #fcfcfa; --soft: #f1f2ee; --rule: #dcded6;
  --mark: #0b6e5f }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe4ea; --dim: #95a0ad; --paper: #14181d; --soft: #1d232a;
  --rule: #313a44; --mark: #5ecbb6 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, sans-serif }
h1 { margin: 0; font-size: 2.25rem; line-height: 1.2; letter-spacing: -.03em }
h1::before { content: ""; display: block; width: 2.5rem; height: .3rem; margin-bottom: 1rem; background: var(--mark) }
h2 { margin: 0 0 .25rem; font-size: 1.3rem; line-height: 1.3; letter-spacing: -.01em }
h3 { margin: 0 0 .35rem; font-size: .75rem; letter-spacing: .08em; text-transform: uppercase; color: var(--dim) }
p { margin: .75rem 0; max-width: 44rem }
.lede { font-size: 1.15rem }
nav { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: .25rem 1.5rem;
  margin-top: 1.5rem }
section { margin-top: 3rem; padding-top: 2rem; border-top: 1px solid var(--rule) }
a, .path, pre span { color: var(--mark) }
code, pre { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
p code, td code { white-space: nowrap }
pre { margin: 0; padding: .9rem 1rem; overflow-x: auto; background: var(--soft); border-radius: .4rem }
.pair { display: grid; gap: 1.25rem; margin-top: 1.25rem }
.pair > div { min-width: 0 }
@media (min-width: 62rem) { .pair { grid-template-columns: 1fr 1fr } }
table { border-collapse: collapse; width: 100%; margin-top: 1rem }
th { text-align: left }
#events td code { white-space: normal }
section h3 { margin-top: 2rem }
td { padding: .5rem 1.5rem .5rem 0; border-bottom: 1px solid var(--rule); vertical-align: top }
td:last-child { padding-right: 0; width: 100% }
tr:last-child td { border: 0 }
.names { display: flex; flex-wrap: wrap; gap: 0 1rem; color: var(--dim) }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>callmeter: how to ask</title><style>{style}</style></head><body>
<h1>callmeter</h1>
<p class="lede">What LLM calls cost, how long they took and how often they failed.</p>
<p>Each question is a POST of a JSON object. All there is to ask, and every field, is in
<a href="openapi.json">openapi.json</a>; prices, roll-ups and buckets are those of W&amp;B Weave's trace server.
Authentication is HTTP Basic: user <code>api</code>, an access key as the password. The examples take the address and
the key from the shell:</p>
<pre>export CALLMETER=http://127.0.0.1:8080 KEY=cm_…</pre>
<nav>{links}<a href="#askable">What can be asked</a><a href="#freshness">How fresh an answer is</a>
<a href="#refusals">When there is no answer</a><a href="#events">What an event is</a></nav>
{examples}
<section id="askable"><h2>What can be asked</h2><p><code class="path">POST /calls/stats</code></p>
<table>{askable}</table></section>
<section id="freshness"><h2>How fresh an answer is</h2>
<p>Every answer says so in two headers: <code>X-Data-As-Of</code> is the UTC instant through which events have been
applied, <code>X-Data-Lag-Seconds</code> how long ago that was. Both are absent until the first event has been
applied.</p></section>
<section id="refusals"><h2>When there is no answer</h2>
<table>{statuses}</table></section>
<section id="events">{events}</section>
</body></html>
"""


@cache
def docs_page() -> str:
    """The page as HTML."""
    return _PAGE.format(
        style=_STYLE,
        links="".join(f'<a href="#{example.anchor}">{example.title}</a>' for example in EXAMPLES),
        examples="".join(map(_section, EXAMPLES)),
        askable="".join(_askable_row(*row) for row in _ASKABLE),
        events=_events(),
        statuses="".join(f"<tr><td><code>{status}</code><td>{means}" for status, means in _STATUSES),
    )


def curl_line(example: Example) -> str:
    """The example as a shell command that can be pasted; `-d` because `--json` needs a curl of 2022."""
    return f'curl -u "api:$KEY" "$CALLMETER{example.path}" -d \'{_pretty(example.request)}\''


def _section(example: Example) -> str:
    return (
        f'<section id="{example.anchor}"><h2>{example.title}</h2><p><code class="path">POST {example.path}</code></p>'
        f'<p>{example.teaches}</p><div class="pair"><div><h3>Ask</h3>{_code(curl_line(example))}</div>'
        f"<div><h3>Answer</h3>{_code(_pretty(example.answer))}</div></div></section>"
    )


def _events() -> str:
    """The page about events, its headings one level lower: it is a section here."""
    page = re.sub(r"^#", "##", event_page(), flags=re.MULTILINE)
    rendered: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(page)
    return rendered


def _askable_row(field: str, names: tuple[str, ...], means: str) -> str:
    listed = "".join(f"<code>{name}</code>" for name in names)
    return f'<tr><td><code>{field}</code><td>{means}<div class="names">{listed}</div>'


def _code(text: str) -> str:
    """A block of code, its JSON keys marked."""
    marked = re.sub(r'"[^"\n]*"(?=:)', r"<span>\g<0></span>", escape(text, quote=False))
    return f"<pre>{marked}</pre>"


def _pretty(value: object, indent: str = "") -> str:
    """JSON with short lists and objects on one line."""
    flat = json.dumps(value)
    if len(flat) + len(indent) <= _WIDTH or not isinstance(value, dict | list):
        return flat
    deeper = indent + "  "
    if isinstance(value, list):
        lines, brackets = [_pretty(element, deeper) for element in value], "[]"
    else:
        lines, brackets = [f"{json.dumps(key)}: {_pretty(value[key], deeper)}" for key in value], "{}"
    return f"{brackets[0]}\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}{brackets[1]}"
