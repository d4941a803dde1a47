"""Processes that share one listening socket, each a real fork with its own event loop."""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.context import ForkProcess

import pytest

from server.balance import Acceptor, Board, Slot, SlotState

_fork = multiprocessing.get_context("fork")


class Named(asyncio.Protocol):
    """Answers each line with the process id, and reports the number of connections to the acceptor."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._told = report

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._told(1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        del data
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(f"{os.getpid()}\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._told(-1)


def serve(listening: socket.socket, board: Board, slot: Slot) -> None:
    async def run() -> None:
        served = 0

        def report(more: int) -> None:
            nonlocal served
            served += more
            acceptor.publish(served)

        acceptor = Acceptor(asyncio.get_running_loop(), listening, lambda: Named(report), (board, slot))
        acceptor.start()
        slot.state = SlotState.ACCEPTING
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def served_by(number: int) -> Iterator[tuple[tuple[str, int], Board, list[ForkProcess]]]:
    """Yield the address that this number of processes serves."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        listening.setblocking(False)  # noqa: FBT003 - the method has no name for it
        board = Board(number)
        slots = [slot for _ in range(number) if (slot := board.take())]
        processes = [_fork.Process(target=serve, args=(listening, board, slot)) for slot in slots]
        for process in processes:
            process.start()
        until = time.monotonic() + 30
        while board.count(SlotState.ACCEPTING) < number:
            assert time.monotonic() < until
            time.sleep(0.01)
        try:
            yield listening.getsockname(), board, processes
        finally:
            for process in processes:
                process.kill()
                process.join()


def named(connection: socket.socket) -> str:
    connection.sendall(b"?")
    return connection.recv(16).decode().strip()


@pytest.mark.parametrize(("processes", "clients"), [(2, 4), (2, 8), (2, 64), (4, 16), (4, 64), (1, 8)])
def test_kept_connections_are_shared_evenly(processes: int, clients: int) -> None:
    """All arrive at once, which could let one process take all."""
    with served_by(processes) as (address, _, _):
        made = [socket.create_connection(address, timeout=30) for _ in range(clients)]
        shares = Counter(named(connection) for connection in made)
        for connection in made:
            connection.close()
    assert sum(shares.values()) == clients
    assert max(shares.values()) <= max(0.65 * clients, clients / processes)


def test_many_short_connections_are_shared() -> None:
    def ask(address: tuple[str, int], times: int) -> Counter[str]:
        answers: Counter[str] = Counter()
        for _ in range(times):
            with socket.create_connection(address, timeout=30) as connection:
                answers[named(connection)] += 1
        return answers

    with served_by(2) as (address, _, _), ThreadPoolExecutor(8) as threads:
        shares = sum(threads.map(ask, [address] * 8, [100] * 8), Counter[str]())
    assert sum(shares.values()) == 800
    assert max(shares.values()) < 0.8 * 800


def test_a_stopped_process_keeps_no_connections_from_the_others() -> None:
    with served_by(2) as (address, _, processes):
        stopped = str(processes[0].pid)
        os.kill(processes[0].pid or 0, signal.SIGSTOP)
        made = [socket.create_connection(address, timeout=30) for _ in range(100)]
        answers = Counter(named(connection) for connection in made)
        for connection in made:
            connection.close()
    assert stopped not in answers
    assert sum(answers.values()) == 100


def test_waiting_connections_of_a_killed_process_go_to_the_others() -> None:
    with served_by(2) as (address, board, processes):
        os.kill(processes[0].pid or 0, signal.SIGKILL)
        processes[0].join()
        board.free_all_but([])
        made = [socket.create_connection(address, timeout=30) for _ in range(20)]
        assert {named(connection) for connection in made} == {str(processes[1].pid)}
        for connection in made:
            connection.close()


def test_a_process_without_free_descriptors_waits_and_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.balance._PAUSE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)  # noqa: FBT003 - the method has no name for it
        asyncio.run(_served_after_a_refusal(listening))


async def _served_after_a_refusal(listening: socket.socket) -> None:
    refusals = [OSError(24, "Too many open files"), OSError(12, "Cannot allocate memory")]

    class Scarce(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            if refusals:
                raise refusals.pop()
            return super().accept()

    scarce = Scarce(fileno=os.dup(listening.fileno()))
    acceptor = Acceptor(asyncio.get_running_loop(), scarce, lambda: Named(lambda _: None), None)
    acceptor.start()
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"?")
    assert (await asyncio.wait_for(reader.readline(), 30)).decode().strip() == str(os.getpid())
    assert not refusals
    writer.close()
    await writer.wait_closed()
    acceptor.stop()
    scarce.close()


def test_slots_suffice_for_ending_processes_and_their_successors() -> None:
    board = Board(2)
    slots = [board.take() for _ in range(6)]
    assert None not in slots
    assert board.take() is None
    board.free_all_but(slots[1:])
    assert (again := board.take()) is not None
    assert (again.load, board.count(SlotState.STARTING)) == ((0, 0), 6)


class Noted(asyncio.Protocol):
    """Records the started connections by their source port."""

    def __init__(self, begun: list[int], served: Callable[[], None]) -> None:
        self._begun = begun
        self._served = served

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._begun.append(transport.get_extra_info("peername")[1])
        self._served()
        transport.close()


async def begun_of(listening: socket.socket, number: int, *, crowd: int) -> list[int]:
    """Accept the waiting connections, with this number already served; return the started ones in order."""
    begun: list[int] = []
    loop = asyncio.get_running_loop()
    acceptor = Acceptor(
        loop, listening, lambda: Noted(begun, lambda: acceptor.publish(crowd)), None, counted=lambda peer: peer
    )
    acceptor.publish(crowd)
    acceptor.start()
    until = loop.time() + 30
    while len(begun) < number or acceptor.beginning:
        assert loop.time() < until
        await asyncio.sleep(0.01)
    acceptor.stop()
    return begun


def waiting_for(listening: socket.socket, senders: list[str]) -> list[socket.socket]:
    return [
        socket.create_connection(listening.getsockname(), timeout=30, source_address=(sender, 0)) for sender in senders
    ]


def test_under_load_addresses_are_served_alternately() -> None:
    """A connection after forty of another address starts first or second, as the kernel may change the order."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, ExitStack() as opened:
        listening.setblocking(False)  # noqa: FBT003 - the method has no name for it
        made = waiting_for(listening, ["127.0.0.1"] * 40 + ["127.0.0.2"])
        last = [opened.enter_context(closing(connection)).getsockname()[1] for connection in made][-1]
        begun = asyncio.run(begun_of(listening, 41, crowd=500))
    assert begun.index(last) < 2
    assert len(begun) == 41


def test_the_newest_connections_of_a_flooding_address_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.balance._QUEUE", 40)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, ExitStack() as opened:
        listening.setblocking(False)  # noqa: FBT003 - the method has no name for it
        made = waiting_for(listening, ["127.0.0.1"] * 64)
        ports = [opened.enter_context(closing(connection)).getsockname()[1] for connection in made]
        begun = asyncio.run(begun_of(listening, 20, crowd=500))
        assert sum(map(ports.index, begun)) / 20 > 45, "of 64 in about the order in which they came, 0 to 63"
        closed = [connection for connection in made if connection.recv(1) == b""]
    assert len(closed) == 64


def test_an_accepted_connection_is_counted_until_it_is_served() -> None:
    """Otherwise a retiring process would end before it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)  # noqa: FBT003 - the method has no name for it
        made = waiting_for(listening, ["127.0.0.1"])[0]
        with closing(made):
            assert asyncio.run(_counted(listening)) == [1, 0]


async def _counted(listening: socket.socket) -> list[int]:
    begun: list[int] = []
    served = asyncio.Event()
    acceptor = Acceptor(asyncio.get_running_loop(), listening, lambda: Noted(begun, served.set), None)
    acceptor._wake()
    acceptor.stop()
    counts = [acceptor.beginning]
    await asyncio.wait_for(served.wait(), 30)
    await asyncio.gather(*acceptor._beginning)
    return [*counts, acceptor.beginning]
