"""Ports for servers that get theirs before they start."""

import socket


def free_port() -> int:
    """Return an unused port that the system assigns to no other program for a minute.

    A connection that this side ended is remembered by the kernel: until it is forgotten only a server that names the
    port, with SO_REUSEADDR as servers do, gets it. So it is no other's between this call and the server's start.
    """
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_connection(free.getsockname()):
        free.accept()[0].close()
        return int(free.getsockname()[1])
