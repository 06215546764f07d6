"""Who may connect: addresses that need no secret, and the token that all others need."""

from __future__ import annotations

import hmac
import ipaddress
import os

from dtql_robot.errors import InputError

TOKEN_VARIABLE = "DTQL_ROBOT_TOKEN"
SCHEMES = ("Api-Key", "Bearer")
"""How a client may present its token; the first is what openpi's clients send."""


def choose_token(given: str | None) -> str | None:
    """The token that was given, or else that of the environment.  InputError for one that no header can carry."""
    token = os.environ.get(TOKEN_VARIABLE) if given is None else given
    if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
        where = TOKEN_VARIABLE if given is None else "--token"
        raise InputError(f"{where} must be one or more printable ASCII characters without spaces.")
    return token


def check_address(host: str, token: str | None, without_token: bool) -> None:
    """InputError where a server that other machines can reach would let everyone in."""
    if token is None and not without_token and not is_loopback(host):
        raise InputError(
            f"--host {host or repr(host)} can be reached from other machines, and whoever reaches it moves the robot: "
            f"give --token (or set {TOKEN_VARIABLE}), or say --without-token on a network of your own."
        )


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # another name: who knows what it stands for


def presents(header: str | None, token: str) -> bool:
    """Whether an Authorization header has the token; takes as long for one that is nearly right as for any other."""
    scheme, _, given = (header or "").partition(" ")
    found = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
    return found and scheme.lower() in [known.lower() for known in SCHEMES]
