"""Ports for servers that need a port before they start."""

import socket


def free_port() -> int:
    """Return an unused port that the system assigns to no other program for a minute.

    The kernel remembers a connection that this side ended. Until then only a server that names the port and sets
    SO_REUSEADDR gets it, so no other program takes it between this call and the start of the server.
    """
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_connection(free.getsockname()):
        free.accept()[0].close()
        return int(free.getsockname()[1])
