"""LiteLLM as it is, answered by its own mocks, tells a running gateway of its calls: each is counted."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from callmeter.local.loopback_port import LOOPBACK
from tests.pipeline.pipeline import Pipeline
from tests.scenarios.sdk_programs import PROJECT, SDKS, check_program
from tests.support.paths import ROOT

PYTHON = ROOT / ".servers" / "litellm" / "venv" / "bin" / "python"
TIMEOUT_S = 120


@pytest.mark.skipif(not PYTHON.exists(), reason="`make litellm` installs one")
def test_calls_of_litellm(tmp_path: Path, bootstrap_servers: str, redis_url: str) -> None:
    """Answered calls with their tokens, and the one that failed."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.start_worker()
        api = pipeline.api(gateway=True)
        api.start()
        # Nothing of who runs the tests: no proxy, no login; and what LiteLLM knows of prices is what it came with.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "LITELLM_LOCAL_MODEL_COST_MAP": "true",
            "GENERIC_LOGGER_ENDPOINT": f"http://{LOOPBACK}:{api.port}/litellm",
            "GENERIC_LOGGER_HEADERS": f"project_id={PROJECT}",
        }
        command = [str(PYTHON), str(SDKS / "litellm_program.py")]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert ran.returncode == 0, ran.stderr
        check_program(api, json.loads(ran.stdout.splitlines()[-1]))
