"""Apache Kafka for tests: one node, broker and controller in one, that keeps its log on disk over a kill -9.

The jars come from Maven Central (`make servers`, by the pom.xml beside this file) and need Java 17 or newer.
"""

import shutil
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from callmeter.local.child_process import ChildFailed, ChildProcess
from callmeter.local.embedded_broker import answers_metadata
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port

JARS = Path(__file__).parents[2] / ".servers" / "kafka-libs"

START_TIMEOUT_S = 90.0
TOPIC_TIMEOUT_S = 30.0
GROUP_PARTITIONS = 4  # of the topic of committed offsets; the broker looks groups up by this number

# For a start in 2 s: no second-stage compiler, the class archive of the JDK, the collector that needs no threads.
JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC")

# The session timeout is how long a broker that was killed keeps its own successor waiting.
SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_directory}
broker.heartbeat.interval.ms=250
broker.session.timeout.ms=3000
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions={group_partitions}
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""


class KafkaServer:
    """A broker on loopback with its log in `directory`; `start()` after `kill()` or `stop()` finds all as it was."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_loopback_port()
        self._settings_path = directory / "server.properties"
        self._child = ChildProcess(
            "Apache Kafka",
            _java("-Xms256m", "-Xmx512m", "kafka.Kafka", str(self._settings_path)),
            directory / "kafka.log",
        )

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._child.running

    def start(self) -> None:
        """Format the log directory if it is new, start, and return when clients are served (2 to 4 s)."""
        is_new = not self._settings_path.exists()
        if is_new:
            self._format()
        self._child.start(lambda: answers_metadata(self.bootstrap_servers), START_TIMEOUT_S)
        if is_new:
            # Left to itself, the broker makes it for the first consumer group, which then waits 3 s.
            create_topic(self.bootstrap_servers, "__consumer_offsets", GROUP_PARTITIONS, {"cleanup.policy": "compact"})

    def stop(self) -> None:
        """Stop in good order."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()

    def _format(self) -> None:
        log_directory = self.directory / "log"
        log_directory.mkdir(parents=True)
        settings = SETTINGS.format(
            host=LOOPBACK,
            port=self.port,
            controller_port=free_loopback_port(),
            log_directory=log_directory,
            group_partitions=GROUP_PARTITIONS,
        )
        self._settings_path.write_text(settings)
        # Not to begin with a dash, which would be taken for an option.
        cluster_id = "c" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        command = _java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._settings_path))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def create_topic(bootstrap_servers: str, topic: str, partitions: int, config: dict[str, str] | None = None) -> None:
    """Create the topic and return when the broker has it; raises `KafkaException` (also when it exists already)."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    new_topic = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([new_topic], operation_timeout=TOPIC_TIMEOUT_S)[topic].result(TOPIC_TIMEOUT_S)


def delete_topic(bootstrap_servers: str, topic: str) -> None:
    """Delete the topic and return when the broker has forgotten it."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.delete_topics([topic])[topic].result(TOPIC_TIMEOUT_S)
    deadline_s = time.monotonic() + TOPIC_TIMEOUT_S
    while topic in admin.list_topics(timeout=TOPIC_TIMEOUT_S).topics:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def _java(*arguments: str) -> list[str]:
    java = shutil.which("java")
    if java is None or not any(JARS.glob("*.jar")):
        raise ChildFailed("the tests run Apache Kafka, which needs Java 17 or newer and its jars: run `make servers`")
    return [java, *JVM_OPTIONS, "-cp", f"{JARS}/*", *arguments]
