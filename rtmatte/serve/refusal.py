"""A request that is not granted: its HTTP status and the sentence the client is told."""

from __future__ import annotations

from http import HTTPStatus


class Refusal(Exception):
    """Raised anywhere under a request; `guard` turns it into the response."""

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def bad_request(sentence: str) -> Refusal:
    """Returns the refusal of something that cannot be read or does not fit."""
    return Refusal(HTTPStatus.BAD_REQUEST, sentence)


def not_found(sentence: str) -> Refusal:
    """Returns the refusal of something that is not, or no longer, there."""
    return Refusal(HTTPStatus.NOT_FOUND, sentence)


def full(sentence: str, *, retry_after: int) -> Refusal:
    """Returns the refusal for want of room, with the seconds after which to try again."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence, Retry_After=str(retry_after))
