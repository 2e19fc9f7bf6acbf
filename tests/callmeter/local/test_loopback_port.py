"""Ports for servers that have not started yet: free, and never the same for two of them."""

import random
import socket

import pytest

from callmeter.local import loopback_port
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws are from 200 ports: a hundred of them would nearly always meet one twice."""
    monkeypatch.setattr(loopback_port, "LAST_PORT", loopback_port.FIRST_PORT + 200)
    monkeypatch.setattr(loopback_port, "_HANDED_OUT", set())


def test_no_port_twice() -> None:
    """Servers of a cluster draw their ports before any of them listens."""
    ports = [free_loopback_port() for _ in range(100)]
    assert len(set(ports)) == 100


def test_generators_that_are_seeded_alike() -> None:
    """Tests in two processes seed the generator alike, and must not draw the same ports one after the other."""
    drawn = []
    for _ in range(2):
        loopback_port._HANDED_OUT.clear()
        random.seed(0)
        drawn.append([free_loopback_port() for _ in range(10)])
    assert drawn[0] != drawn[1]


def test_what_listens_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The range is named where all its ports are taken."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(loopback_port, "FIRST_PORT", port)
        monkeypatch.setattr(loopback_port, "LAST_PORT", port)
        with pytest.raises(OSError, match=f"from {port} to {port}"):
            free_loopback_port()


def test_begins_anew_once_many_were_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts servers for ever does not run out of ports."""
    monkeypatch.setattr(loopback_port, "HANDED_OUT_MAX", 10)
    assert [free_loopback_port() for _ in range(300)]
