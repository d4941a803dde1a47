"""How server processes share the connections of one listening socket: each takes one at a time, who has more waits.

gunicorn's `asgi` worker takes up to 100 waiting connections when it wakes, so that one process gets them all, and
shortens the socket's queue to 100. Remove when it does neither.
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

_LOOK_SECONDS = 0.001
"""Time between two looks whether a process with fewer connections has taken what waits."""
_LOOKS = 50
"""Looks after which the others are too busy to take it."""
_PAUSE_SECONDS = 1.0
"""Time without accepting after the system had no file or memory for a further connection."""
_CROWD = 64
"""Connections from which on a process takes several a wake, so that no long queue is before who comes next."""
_AT_ONCE = 64
_LINE = 1024
"""Connections that are taken and not begun, at most; of one address half as many."""
_TOLERANCE = 8
"""Part of its connections by which a process may have more than another, and takes the next one all the same."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_FIELDS = 3
"""Numbers of a slot: its state, connections now, connections in all."""

type Load = tuple[int, int]


class SlotState(IntEnum):
    """What a server process does; one that retires takes no connection and ends after those that it has."""

    FREE = 0
    STARTING = 1
    ACCEPTING = 2
    RETIRING = 3


_ACCEPTING = SlotState.ACCEPTING


class Slot:
    """What one server process tells the others."""

    def __init__(self, number: int, cells: memoryview) -> None:
        self.number = number
        self._cells = cells

    @property
    def state(self) -> SlotState:
        """What the process does."""
        return SlotState(self._cells[0])

    @state.setter
    def state(self, state: SlotState) -> None:
        self._cells[0] = state

    @property
    def load(self) -> Load:
        """How many connections it has, and has had; each of the two numbers is written at once."""
        return self._cells[1], self._cells[2]

    @load.setter
    def load(self, load: Load) -> None:
        self._cells[1], self._cells[2] = load


class Board:
    """What server processes tell each other, in memory that they share with the process that forks them.

    It has a slot for each process, and for those that end while their successors start.
    """

    def __init__(self, workers: int) -> None:
        number = 2 * workers + 2
        cells = memoryview(mmap.mmap(-1, 8 * (1 + _FIELDS * number))).cast("q")
        self._stopping = cells[:1]
        self._slots = [Slot(i, cells[1 + _FIELDS * i : 1 + _FIELDS * (i + 1)]) for i in range(number)]

    @property
    def stopping(self) -> bool:
        """Whether all processes end."""
        return bool(self._stopping[0])

    def stop(self) -> None:
        """Say that all processes end."""
        self._stopping[0] = 1

    def take(self) -> Slot | None:
        """Return a free slot, now taken; None where none is free."""
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
        """Return how many processes are in the state."""
        return sum(slot.state == state for slot in self._slots)

    def loads_beside(self, mine: Slot) -> dict[int, Load]:
        """Return the load of each other process that takes connections."""
        return {slot.number: slot.load for slot in self._slots if slot is not mine and slot.state == _ACCEPTING}


class Acceptor:
    """Takes connections from a shared socket, one a wake, and none while a process with fewer can take it.

    A process that has not taken it in 50 ms is not waited for again before it moves.

    In a crowd more are taken than can be begun, which costs some hundred times as much. Then addresses take turns, and
    of each the newest comes first: who opens thousands delays himself, and his oldest are closed.
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
        """Take `counted`: what a peer's connections are counted by, nothing where they are not."""
        self._loop = loop
        self._listening = listening
        self._protocol = protocol
        self._place = place
        self._timer: TimerHandle | None = None
        self._looks = self._served = self._accepted = 0
        self._seen: dict[int, Load] = {}
        self._stuck: dict[int, Load] = {}
        self._counted = counted
        self._line: OrderedDict[str, list[socket.socket]] = OrderedDict()
        self._in_line = 0
        self._turn: Handle | None = None
        self._beginning: set[asyncio.Task[None]] = set()

    @property
    def beginning(self) -> int:
        """How many connections it has taken that are not served yet."""
        return self._in_line + len(self._beginning)

    def start(self) -> None:
        """Take connections from now on."""
        self._timer = None
        self._loop.add_reader(self._listening.fileno(), self._wake)

    def stop(self) -> None:
        """Take no more; those that wait are left to the other processes, but for those that are taken."""
        self._loop.remove_reader(self._listening.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell(self, served: int) -> None:
        """Tell the other processes how many connections this one serves."""
        self._served = served
        if self._place is not None:
            self._place[1].load = served + self.beginning, self._accepted

    def _wake(self) -> None:
        self._seen, self._looks = self._before(), 0
        if self._seen:
            self._rest(_LOOK_SECONDS, self._look)
        else:
            self._accept()

    def _before(self) -> dict[int, Load]:
        """Return who a connection is left to: the processes with fewer, but for those that are stuck."""
        if self._place is None:
            return {}
        board, mine = self._place
        enough = mine.load[0] - mine.load[0] // _TOLERANCE
        loads = board.loads_beside(mine)
        return {i: load for i, load in loads.items() if load[0] < enough and self._stuck.get(i) != load}

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._timer = self._loop.call_later(seconds, then)

    def _look(self) -> None:
        before = self._before()
        self._looks += 1
        if before and self._looks < _LOOKS:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
            return
        self._stuck.update((i, load) for i, load in before.items() if self._seen.get(i) == load)
        self.start()

    def _accept(self) -> None:
        """Take one, in a crowd more, as long as nobody with fewer can; begin one a turn of the loop."""
        for _ in range(_AT_ONCE if self._served >= _CROWD else 1):
            if self._in_line >= _LINE or not self._take() or self._before():
                break
        if self._turn is None:
            self._begin_next()

    def _take(self) -> bool:
        """Take a connection into the line; say whether there may be another."""
        try:
            connection, peer = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            _log.warning("no connection is taken for %.0f s: %s", _PAUSE_SECONDS, error)
            self._rest(_PAUSE_SECONDS, self.start)
            return False
        connection.setblocking(False)  # noqa: FBT003 - the method has no name for it
        self._accepted += 1
        address = self._counted(peer[0] if isinstance(peer, tuple) else "")
        of_one = self._line.setdefault(address, [])
        of_one.append(connection)
        self._in_line += 1
        if address and len(of_one) > _LINE // 2:
            of_one.pop(0).close()
            self._in_line -= 1
        self.tell(self._served)
        return True

    def _begin_next(self) -> None:
        """Begin the newest connection of the address whose turn it is."""
        self._turn = None
        if not self._line:
            return
        address, of_one = self._line.popitem(last=False)
        task = self._loop.create_task(self._begin(of_one.pop()))
        self._in_line -= 1
        self._beginning.add(task)
        task.add_done_callback(self._begun)
        if of_one:
            self._line[address] = of_one
        if self._line:
            self._turn = self._loop.call_soon(self._begin_next)

    async def _begin(self, connection: socket.socket) -> None:
        with suppress(OSError):
            await self._loop.connect_accepted_socket(self._protocol, connection)

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._beginning.discard(task)
        self.tell(self._served)
