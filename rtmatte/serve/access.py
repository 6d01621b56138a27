"""Who may use the server: the token, the one-time key in the printed address, and the logins made from either.

Secrets are compared in constant time and appear in no message and no repr.
"""

from __future__ import annotations

import hmac
import secrets

COOKIE = "rtmatte_login"
LOGINS = 64  # browsers that are logged in at a time; the oldest makes room


def new_token() -> str:
    """Returns a fresh random token of 256 bits."""
    return secrets.token_urlsafe(32)


class Access:
    """The door of a server with `token`; without one everybody is let in."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._key: str | None = secrets.token_urlsafe(24) if token else None
        self._logins: list[str] = []

    @property
    def key(self) -> str | None:
        """The key that makes one login, for the address shown to the operator; None once it was used."""
        return self._key

    def admits(self, authorization: str | None, login: str | None) -> bool:
        """Whether an Authorization header or a login cookie opens the door."""
        if self._token is None:
            return True
        given = bearer(authorization)
        if given is not None and _same(given, self._token):
            return True
        return login is not None and any(_same(login, known) for known in self._logins)

    def log_in(self, given: str) -> str | None:
        """Returns a login for the token or the one-time key, None for anything else."""
        by_key = self._key is not None and _same(given, self._key)
        by_token = self._token is not None and _same(given, self._token)
        if not (by_key or by_token):
            return None
        if by_key:
            self._key = None
        self._logins = [*self._logins, secrets.token_urlsafe(32)][-LOGINS:]
        return self._logins[-1]


def bearer(authorization: str | None) -> str | None:
    """Returns the secret in an Authorization header, None where there is none."""
    scheme, _, given = (authorization or "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
