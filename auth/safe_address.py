"""Addresses that what is trusted may come from."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_safe_address(url: str) -> bool:
    """Tell whether nobody on the way can change what this address answers: https, or the machine itself."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host or "")))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
