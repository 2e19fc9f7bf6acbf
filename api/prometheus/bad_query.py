"""Why a Prometheus query is refused, in the words and statuses of Prometheus' own API."""


class BadQuery(Exception):
    """A query that cannot be answered: `error_type` as Prometheus names it, and a sentence that names what is wrong."""

    def __init__(self, message: str, error_type: str = "bad_data", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
        self.status = status
