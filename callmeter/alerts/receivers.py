"""Who is told of an alert: Alertmanager, a webhook, Slack, PagerDuty; addresses and secrets may stand in files."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from callmeter.alerts.rule_fields import Name

SECRET_BYTES_MAX = 65_536
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"


class _Receiver(BaseModel):
    """What all have: a name, and an address that may stand in a file, since it may be a secret itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    url: SecretStr | None = None
    url_file: Path | None = None
    authorization: SecretStr | None = Field(default=None)
    authorization_file: Path | None = None

    @model_validator(mode="after")
    def _stated(self) -> "_Receiver":
        if (self.url is None) == (self.url_file is None):
            raise ValueError("needs `url` or `url_file`, one of them")
        if self.authorization is not None and self.authorization_file is not None:
            raise ValueError("has `authorization` and `authorization_file`; only one may be")
        address = self.address()
        if not address.startswith(("http://", "https://")):
            raise ValueError("has an address that does not begin with http:// or https://")
        self.authorization_header()
        return self

    @property
    def makes_one_of_two(self) -> bool:
        """Whether a notification that comes again is nothing new to it."""
        return True

    def address(self) -> str:
        """Return where to send to. Raises ValueError for a file that cannot be read."""
        return stated(self.url, self.url_file) or ""

    def authorization_header(self) -> str | None:
        """The value of the header, such as `Bearer ...`; None: none is sent. Raises ValueError for its file."""
        return stated(self.authorization, self.authorization_file)


class AlertmanagerReceiver(_Receiver):
    """An Alertmanager: `url` is where its own page is; it is told again and again, as its clients must."""

    type: Literal["alertmanager"]


class WebhookReceiver(_Receiver):
    """Any address that takes what Alertmanager's webhooks send, version 4. `idempotent`: what has an Idempotency-Key
    that it knows is nothing new to it.
    """

    type: Literal["webhook"]
    idempotent: bool = False

    @property
    def makes_one_of_two(self) -> bool:
        return self.idempotent


class SlackReceiver(_Receiver):
    """An incoming webhook of Slack, or of whoever takes the same."""

    type: Literal["slack"]

    @property
    def makes_one_of_two(self) -> bool:
        return False


class PagerDutyReceiver(_Receiver):
    """A service of PagerDuty, by the routing key of its Events API v2."""

    type: Literal["pagerduty"]
    url: SecretStr | None = SecretStr(PAGERDUTY_URL)
    routing_key: SecretStr | None = None
    routing_key_file: Path | None = None

    @model_validator(mode="after")
    def _key(self) -> "PagerDutyReceiver":
        if (self.routing_key is None) == (self.routing_key_file is None):
            raise ValueError("needs `routing_key` or `routing_key_file`, one of them")
        self.key()
        return self

    def key(self) -> str:
        """The routing key. Raises ValueError for a file that cannot be read."""
        return stated(self.routing_key, self.routing_key_file) or ""


Receiver = Annotated[
    AlertmanagerReceiver | WebhookReceiver | SlackReceiver | PagerDutyReceiver, Field(discriminator="type")
]


def stated(secret: SecretStr | None, file: Path | None) -> str | None:
    """A secret as it is given, or as its file holds it. Raises ValueError for a file that cannot be read."""
    if file is None:
        return None if secret is None else secret.get_secret_value().strip()
    try:
        with file.expanduser().open("rb") as opened:
            text = opened.read(SECRET_BYTES_MAX + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as trouble:
        raise ValueError(f"names the file {file}, which cannot be read: {trouble}") from None
    if not text or len(text) > SECRET_BYTES_MAX:
        raise ValueError(f"names the file {file}, which is empty or too large")
    return text
