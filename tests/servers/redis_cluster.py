"""A real Redis Cluster (Valkey) for tests: masters on loopback that share the slots evenly."""

import time
from pathlib import Path

import redis

from callmeter.local.loopback_port import free_loopback_port
from tests.servers.redis_server import RedisServer

SLOTS = 16_384
MEET_TIMEOUT_S = 20.0
_NODE_OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")


class RedisCluster:
    """Masters without replicas; a killed one comes back with its append-only file."""

    def __init__(self, directory: Path, masters: int = 3) -> None:
        self._bus_ports = [free_loopback_port() for _ in range(masters)]
        self.nodes = [
            RedisServer(directory / f"node-{number}", extra_args=(*_NODE_OPTIONS, "--cluster-port", str(bus_port)))
            for number, bus_port in enumerate(self._bus_ports)
        ]

    @property
    def url(self) -> str:
        """Leads a cluster client to the first master, and from there to all."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start the masters, give each its slots and let them meet; returns when the cluster answers."""
        for number, node in enumerate(self.nodes):
            node.start()
            first, last = (SLOTS * share // len(self.nodes) for share in (number, number + 1))
            with redis.Redis.from_url(node.url) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
                if number:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus_ports[0])
        deadline = time.monotonic() + MEET_TIMEOUT_S
        while not all(self._is_ready(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise TimeoutError("the masters did not form a cluster")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop all masters."""
        for node in self.nodes:
            node.stop()

    def flush(self) -> None:
        """Empty the whole cluster."""
        for node in self.nodes:
            with redis.Redis.from_url(node.url) as client:
                client.flushall()

    def _is_ready(self, node: RedisServer) -> bool:
        with redis.Redis.from_url(node.url) as client:
            state = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in state and f"cluster_known_nodes:{len(self.nodes)}" in state
