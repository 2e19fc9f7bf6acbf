"""Dead letters as their topic holds them, to be looked at and sent again."""

import hashlib
import re
from typing import NamedTuple

from ingest.dead_letters import CUT_OF, REPLAY_OF, REPLAYED, texts
from ingest.kafka.message import Message
from ingest.kafka.partition import Partition


class StoredDeadLetter(NamedTuple):
    """A dead letter. `message` is it on its own topic, its time being when it was put there; `headers` are texts."""

    message: Message
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        """Why the message is no event."""
        return self.headers.get("reason", "")

    @property
    def origin(self) -> str:
        """`topic/partition/offset` of the message."""
        return "/".join(self.headers.get(name, "") for name in ("topic", "partition", "offset"))

    @property
    def source(self) -> Partition | None:
        """Return where the message was read; None if the headers do not say, so that we did not write them."""
        partition = self.headers.get("partition", "")
        if not self.headers.get("topic") or not re.fullmatch(r"\d{1,9}", partition, re.ASCII):
            return None
        return Partition(self.headers["topic"], int(partition))

    @property
    def first_origin(self) -> str:
        """The origin of the message that this one was, by way of replays: all its dead letters have it in common."""
        return self.headers.get(REPLAY_OF) or self.origin

    @property
    def identity(self) -> bytes:
        """16 bytes that all letters written of one bad event have in common, and no others.

        Its origin, its position in the message, and the message: a topic that was made anew has its offsets again.
        """
        digest = hashlib.blake2b(self.message.value or b"", digest_size=16)
        digest.update(f"\0{self.origin}\0{self.headers.get('position', '')}".encode("utf-8", "replace"))
        return digest.digest()

    @property
    def replays(self) -> int:
        """How often the message had been sent again when this letter was written."""
        written = self.headers.get(REPLAYED, "")
        return int(written) if re.fullmatch(r"\d{1,9}", written, re.ASCII) else 0

    @property
    def is_cut(self) -> bool:
        """Whether it holds only the beginning of its message, which cannot be sent again from it."""
        return CUT_OF in self.headers

    def replay_headers(self) -> dict[str, str | bytes | None]:
        """Headers for the message when it is sent again."""
        return {REPLAYED: str(self.replays + 1), REPLAY_OF: self.first_origin}


def stored_dead_letter(message: Message) -> StoredDeadLetter:
    """A message of a dead-letter topic as a letter."""
    return StoredDeadLetter(message, texts(message.headers))
