"""Who may see the page: the token, the name it is asked under, and the page that asks."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from typing import Iterable, Optional

from clipedge.jetson.errors import UsageError

UNKNOWN, FORBIDDEN = 401, 403
TOKEN_BYTES = 16  # of chance in a token made here


def choose_token(given: Optional[str], loopback: bool) -> Optional[str]:
    """Return the token to ask for: the one given, or a made one where others reach the page.

    Raises:
        UsageError: the given one is empty.
    """
    if given is not None and not given.strip():
        raise UsageError("--token is empty; give a text that is hard to guess, or leave it out.")
    if given is None and not loopback:
        return secrets.token_urlsafe(TOKEN_BYTES)
    return given and given.strip()


class Access:
    """Judges requests.

    On a loopback address only loopback's own names are served: a page from elsewhere whose name
    was made to point here (DNS rebinding) comes under another one.
    """

    def __init__(self, token: Optional[str], loopback: bool, port: int) -> None:
        """Prepare for a page on ``port``; a token of None asks nobody."""
        self._token = token
        self._loopback = loopback
        self.cookie = f"clipedge-{port}"  # cookies do not tell ports apart
        # The token itself may hold letters that a cookie must not.
        self.ticket = hashlib.sha256(_bytes(token or "")).hexdigest()

    @property
    def open(self) -> bool:
        """Nobody is asked for a token."""
        return self._token is None

    def refusal(
        self, host: str, origin: Optional[str], tokens: Iterable[bytes], ticket: str
    ) -> Optional[int]:
        """Return the HTTP status that refuses a request, None for one that is served.

        Args:
            host: the header Host; empty where it is missing.
            origin: the header Origin; None where it is missing.
            tokens: in the address and in the header Authorization, as they came.
            ticket: the cookie; empty where it is missing.
        """
        if not self.open and not self._knows(tokens, ticket):
            return UNKNOWN
        if self._loopback and not _is_loopback_name(host):
            return FORBIDDEN
        if origin is not None and origin.lower() not in (
            f"http://{host}".lower(),
            f"https://{host}".lower(),  # behind a proxy that adds TLS
        ):
            return FORBIDDEN
        return None

    def _knows(self, tokens: Iterable[bytes], ticket: str) -> bool:
        """Tell whether any of them is right, in a time that does not tell more."""
        right = [hmac.compare_digest(token, _bytes(self._token or "")) for token in tokens]
        return any(right) or hmac.compare_digest(_bytes(ticket), _bytes(self.ticket))


def _is_loopback_name(host: str) -> bool:
    """Tell whether Host, with or without a port, can only mean the asker's own machine."""
    name = re.sub(":[0-9]*$", "", host).strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
