"""Balance the connections of one listening socket between server processes: the one with the fewest accepts next.

gunicorn's `asgi` worker accepts up to 100 connections per wake-up, so that one process gets them all, and shortens the
socket's backlog to 100. Remove when it does neither.
"""

import asyncio
import errno
import logging
import mmap
import socket
from asyncio import AbstractEventLoop, Handle, TimerHandle
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from enum import IntEnum

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.001
"""Time between two checks whether a process with fewer connections has accepted."""
_POLLS = 50
"""Checks after which the other processes are considered busy."""
_PAUSE_SECONDS = 1.0
"""Time without accepting after the system ran out of files or memory."""
_HEAVY_LOAD = 64
"""Number of connections from which a process accepts several per wake-up, to keep the backlog short."""
_AT_ONCE = 64
_QUEUE = 1024
"""Maximum number of accepted connections that are not started; half as many for one address."""
_TOLERANCE = 8
"""A process accepts while it has at most one in `_TOLERANCE` connections more than another."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_FIELDS = 3
"""Values of a slot: state, current connections, total connections."""

type Load = tuple[int, int]


class SlotState(IntEnum):
    """State of a server process; a retiring one accepts no connections and ends after its current ones."""

    FREE = 0
    STARTING = 1
    ACCEPTING = 2
    RETIRING = 3


_ACCEPTING = SlotState.ACCEPTING


class Slot:
    """The shared state of one server process."""

    def __init__(self, number: int, cells: memoryview) -> None:
        self.number = number
        self._cells = cells

    @property
    def state(self) -> SlotState:
        """The state of the process."""
        return SlotState(self._cells[0])

    @state.setter
    def state(self, state: SlotState) -> None:
        self._cells[0] = state

    @property
    def load(self) -> Load:
        """Current and total number of connections; each is written atomically."""
        return self._cells[1], self._cells[2]

    @load.setter
    def load(self, load: Load) -> None:
        self._cells[1], self._cells[2] = load


class Board:
    """Shared memory of the server processes and their parent.

    It has a slot for each process, and for retiring ones while their successors start.
    """

    def __init__(self, workers: int) -> None:
        number = 2 * workers + 2
        cells = memoryview(mmap.mmap(-1, 8 * (2 + _FIELDS * number))).cast("q")
        self._stopping, self._replaced = cells[:1], cells[1:2]
        self._slots = [Slot(i, cells[2 + _FIELDS * i : 2 + _FIELDS * (i + 1)]) for i in range(number)]

    @property
    def stopping(self) -> bool:
        """Whether all processes are stopping."""
        return bool(self._stopping[0])

    def stop(self) -> None:
        """Announce that all processes stop."""
        self._stopping[0] = 1

    @property
    def replaced(self) -> bool:
        """Whether processes with another board take all new connections."""
        return bool(self._replaced[0])

    def replace(self) -> None:
        """Announce that processes with another board take all new connections."""
        self._replaced[0] = 1

    def take(self) -> Slot | None:
        """Reserve and return a free slot, or None."""
        slot = next((slot for slot in self._slots if slot.state == SlotState.FREE), None)
        if slot is not None:
            slot.load = 0, 0
            slot.state = SlotState.STARTING
        return slot

    def free_all_but(self, used: Collection[Slot | None]) -> None:
        """Free the slots of processes that have ended."""
        for slot in self._slots:
            if slot not in used:
                slot.state = SlotState.FREE

    def count(self, state: SlotState) -> int:
        """Return the number of processes in a state."""
        return sum(slot.state == state for slot in self._slots)

    def loads_of_others(self, mine: Slot) -> dict[int, Load]:
        """Return the load of each other accepting process."""
        return {slot.number: slot.load for slot in self._slots if slot is not mine and slot.state == _ACCEPTING}


class Acceptor:
    """Accepts connections from a shared socket, one per wake-up, and none while a process with fewer can accept.

    A process that has not accepted within 50 ms is ignored until its load changes.

    Under heavy load it accepts more connections than it can start, which costs about a hundred times as much. It then
    serves addresses round-robin, the newest connection of each first: a client that opens thousands delays only itself,
    and its oldest are closed.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        place: tuple[Board, Slot] | None,
        *,
        counted: Callable[[str], str] = str,
    ) -> None:
        """Accept with `counted`, which returns the key that a peer's connections are counted by, or ""."""
        self._loop = loop
        self._listening = listening
        self._protocol = protocol
        self._place = place
        self._timer: TimerHandle | None = None
        self._polls = self._served = self._accepted = 0
        self._seen: dict[int, Load] = {}
        self._stuck: dict[int, Load] = {}
        self._counted = counted
        self._queue: OrderedDict[str, list[socket.socket]] = OrderedDict()
        self._queued = 0
        self._next_start: Handle | None = None
        self._beginning: set[asyncio.Task[None]] = set()

    @property
    def beginning(self) -> int:
        """Number of accepted connections that are not served yet."""
        return self._queued + len(self._beginning)

    def start(self) -> None:
        """Start accepting."""
        self._timer = None
        self._loop.add_reader(self._listening.fileno(), self._wake)

    def stop(self) -> None:
        """Stop accepting; accepted connections are still served, the backlog is left to the other processes."""
        self._loop.remove_reader(self._listening.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def publish(self, served: int) -> None:
        """Publish how many connections this process serves."""
        self._served = served
        if self._place is not None:
            self._place[1].load = served + self.beginning, self._accepted

    def _wake(self) -> None:
        self._seen, self._polls = self._before(), 0
        if self._seen:
            self._pause(_POLL_SECONDS, self._poll)
        else:
            self._accept()

    def _before(self) -> dict[int, Load]:
        """Return the loads of the processes that should accept first: those with fewer connections and not stuck."""
        if self._place is None:
            return {}
        board, mine = self._place
        enough = mine.load[0] - mine.load[0] // _TOLERANCE
        loads = board.loads_of_others(mine)
        return {i: load for i, load in loads.items() if load[0] < enough and self._stuck.get(i) != load}

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._timer = self._loop.call_later(seconds, then)

    def _poll(self) -> None:
        before = self._before()
        self._polls += 1
        if before and self._polls < _POLLS:
            self._timer = self._loop.call_later(_POLL_SECONDS, self._poll)
            return
        self._stuck.update((i, load) for i, load in before.items() if self._seen.get(i) == load)
        self.start()

    def _accept(self) -> None:
        """Accept one connection, under heavy load several; start one in each iteration of the event loop."""
        for _ in range(_AT_ONCE if self._served >= _HEAVY_LOAD else 1):
            if self._queued >= _QUEUE or not self._take() or self._before():
                break
        if self._next_start is None:
            self._start_next()

    def _take(self) -> bool:
        """Accept a connection into the queue; return whether there may be another."""
        try:
            connection, peer = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            _log.warning("not accepting connections for %.0f s: %s", _PAUSE_SECONDS, error)
            self._pause(_PAUSE_SECONDS, self.start)
            return False
        connection.setblocking(False)  # noqa: FBT003 - the method has no name for it
        self._accepted += 1
        address = self._counted(peer[0] if isinstance(peer, tuple) else "")
        of_one = self._queue.setdefault(address, [])
        of_one.append(connection)
        self._queued += 1
        if address and len(of_one) > _QUEUE // 2:
            of_one.pop(0).close()
            self._queued -= 1
        self.publish(self._served)
        return True

    def _start_next(self) -> None:
        """Start the newest connection of the next address."""
        self._next_start = None
        if not self._queue:
            return
        address, of_one = self._queue.popitem(last=False)
        task = self._loop.create_task(self._begin(of_one.pop()))
        self._queued -= 1
        self._beginning.add(task)
        task.add_done_callback(self._begun)
        if of_one:
            self._queue[address] = of_one
        if self._queue:
            self._next_start = self._loop.call_soon(self._start_next)

    async def _begin(self, connection: socket.socket) -> None:
        with suppress(OSError):
            await self._loop.connect_accepted_socket(self._protocol, connection)

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._beginning.discard(task)
        self.publish(self._served)
