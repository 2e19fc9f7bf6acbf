"""What commands say of servers that answer, and refuse: not that they are away."""

from callmeter.local.loopback_port import free_loopback_port
from tests.pipeline.operator import operate


def test_a_typo_in_a_property_of_the_client(redis_url: str) -> None:
    """The property is named, and no broker is blamed, which nobody asked."""
    settings = {"KAFKA__EXTRA": '{"sasl.mechanizm": "PLAIN"}', "REDIS__URL": redis_url}
    for command in (["status"], ["dead-letters", "list"]):
        run = operate(settings, *command)
        assert run.status == 1
        assert run.errors.splitlines()[-1] == (
            "Error: CALLMETER_KAFKA__EXTRA is not as the Kafka client needs it: No such configuration property: "
            '"sasl.mechanizm"'
        )


def test_a_refused_password(redis_url: str) -> None:
    """A refused password is told as refused, and is not shown."""
    run = operate({"REDIS__URL": redis_url.replace("://", "://me:hush@")}, "status")
    assert run.status == 1
    assert "refused the user or the password of CALLMETER_REDIS__URL" in run.errors
    assert "no Redis answers" not in run.errors
    assert "hush" not in run.errors


def test_what_the_client_repeats(redis_url: str) -> None:
    """A broker that is away is one line of the client, however often it tried, and then the sentence."""
    address = f"127.0.0.1:{free_loopback_port()}"
    run = operate({"KAFKA__BOOTSTRAP_SERVERS": address, "REDIS__URL": redis_url}, "dead-letters", "list")
    *client, sentence = run.errors.splitlines()
    assert run.status == 1
    assert sentence.startswith(f"Error: no Kafka broker answers at {address} ")
    assert sum("Connection refused" in line for line in client) == 1
    assert len(client) <= 3
