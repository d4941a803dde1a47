"""A due name is taken once, in time, by one thread."""

import threading
import time
from collections.abc import Callable

from orchestration.runners.airflow.runner import Agenda

Until = Callable[..., None]


def test_names_are_taken_in_the_order_of_their_earliest_time() -> None:
    agenda = Agenda()
    agenda.put("b", 0.15)
    agenda.put("a", 60)
    agenda.put("a", 0.05)
    agenda.put("a", 60)
    assert [agenda.take(), agenda.take()] == ["a", "b"]


def test_a_taken_name_is_neither_taken_again_nor_lost() -> None:
    agenda, taken = Agenda(), []
    agenda.put("a")
    assert agenda.take() == "a"
    agenda.put("a")
    thread = threading.Thread(target=lambda: taken.append(agenda.take()))
    thread.start()
    time.sleep(0.1)
    assert taken == []
    agenda.give_back("a", None)
    thread.join(30)
    assert taken == ["a"]


def test_an_earlier_name_wakes_a_waiting_thread() -> None:
    agenda, taken = Agenda(), []
    agenda.put("later", 60)
    thread = threading.Thread(target=lambda: taken.append(agenda.take()))
    thread.start()
    time.sleep(0.05)
    agenda.put("now")
    thread.join(30)
    assert taken == ["now"]


def test_a_released_name_is_idle_or_scheduled_again() -> None:
    agenda = Agenda()
    agenda.put("a")
    agenda.give_back(str(agenda.take()), 0.05)
    begin = time.monotonic()
    assert agenda.take() == "a"
    assert time.monotonic() - begin > 0.04


def test_a_closed_agenda_releases_waiting_threads() -> None:
    agenda = Agenda()
    taken: list[str | None] = []
    threads = [threading.Thread(target=lambda: taken.append(agenda.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    agenda.close()
    for thread in threads:
        thread.join(30)
    assert taken == [None] * 3
