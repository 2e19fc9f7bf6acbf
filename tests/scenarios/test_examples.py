"""The producers in examples/ run as they are, and what they send is counted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callmeter.local.loopback_port import LOOPBACK
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
TYPESCRIPT = ROOT / ".servers" / "sdks" / "node_modules" / "typescript"
# Node 22 does this by itself.
TRANSPILE = (
    "const fs = require('fs'), ts = require(process.argv[1]);"
    "fs.writeFileSync(process.argv[3], ts.transpile(fs.readFileSync(process.argv[2], 'utf8'),"
    " {module: 'esnext', target: 'es2022'}))"
)
# Go compiles its standard library the first time.
RUN_TIMEOUT_S = 280
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")
needs_npm = pytest.mark.skipif(not TYPESCRIPT.exists(), reason="`make sdks` installs what npm has")


def commands(language: str, directory: Path, broker: str, topic: str, gateway: str) -> list[list[str]]:
    """Returns the commands that run the example of a language."""
    if language == "python":
        return [[sys.executable, str(EXAMPLES / "produce.py"), broker, topic]]
    if language == "go":
        return [["go", "run", str(EXAMPLES / "produce.go"), gateway]]
    program = str(directory / "produce.mjs")
    return [
        ["node", "-e", TRANSPILE, str(TYPESCRIPT), str(EXAMPLES / "produce.ts"), program],
        ["node", program, gateway],
    ]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "language", ["python", pytest.param("typescript", marks=needs_npm), pytest.param("go", marks=needs_go)]
)
def test_example(language: str, tmp_path: Path, bootstrap_servers: str, redis_url: str) -> None:
    """The example ends well and prints the id of its call, whose tokens can be asked."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.start_worker()
        api = pipeline.api(gateway=True)
        api.start()
        gateway = f"http://{LOOPBACK}:{api.port}"
        printed = ""
        for command in commands(language, tmp_path, bootstrap_servers, pipeline.topic, gateway):
            run = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            printed = run.stdout.strip()
        question = {"project_id": "acme/agents", "call_ids": [printed]}

        def tokens() -> int:
            usage = api.ask("/calls/usage", question).json()["call_usage"][printed]
            return int(usage.get("gpt-4o", {}).get("total_tokens", 0))

        assert wait_until(lambda: tokens() == 1_350, 30)
