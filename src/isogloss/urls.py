"""URLs without what must not be written down: passwords and keys stay in memory, and out of files and messages."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, urlsplit

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]+")
_PATHS = ("file", "local", "memory")  # of these a '?' or '@' is part of a name
_WEB = ("http", "https")  # a user without a password is a token here
_SHORTEST = 4  # characters of a secret that is looked for by itself


def without_secrets(url: str) -> str:
    """Return a URL, or a chain of them (``simplecache::s3://...``), without passwords, keys and query strings.

    ``USER:PASSWORD@`` goes, and on the web any ``USER@``; elsewhere a user alone stays (``sftp://me@host/study``), or
    what stands in its place (``abfs://container@account``).
    """
    return "::".join(_parted(link)[0] for link in url.split("::"))


def hidden(text: str, url: str = "") -> str:
    """Return a text in which every URL is without secrets, and those of one URL are gone wherever they stand."""
    text = _URL.sub(lambda match: without_secrets(match[0]), text.replace(url, without_secrets(url)) if url else text)
    secrets = {part for link in url.split("::") for part in _parted(link)[1]}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _parted(url: str) -> tuple[str, list[str]]:
    """Return one URL without its secrets, and these."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() in _PATHS:
        return url, []
    rest, _, query = rest.partition("?")
    if scheme.lower() in _WEB:
        rest = rest.partition("#")[0]
    user, rest = _user(rest, web=scheme.lower() in _WEB)
    secrets = [user, user.partition(":")[2], *(part.partition("=")[2] for part in query.split("&"))]
    secrets += [unquote(secret) for secret in secrets]
    return f"{scheme}://{rest}", [secret for secret in secrets if len(secret) >= _SHORTEST]


def _user(rest: str, *, web: bool) -> tuple[str, str]:
    """Split what follows ``://`` into a user that must go, and what stays; a secret may hold an unquoted ``/``."""
    host = rest.partition("/")[0]
    if "@" in host:
        user = host.rpartition("@")[0]
        return (user, rest[len(user) + 1 :]) if web or ":" in user else ("", rest)
    port = host.partition(":")[2]
    if port and not port.isdigit() and "@" in rest:
        user = rest.partition("@")[0]
        return user, rest[len(user) + 1 :]
    return "", rest


def is_loopback(address: str) -> bool:
    """Tell whether an address (``tcp://127.0.0.1:8786``) is one of this machine alone."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
