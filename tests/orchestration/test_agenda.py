"""What is due is done once, in time, by one thread at a time."""

import threading
import time
from collections.abc import Callable

from orchestration.runners.airflow.runner import Agenda

Until = Callable[..., None]


def test_what_is_due_first_is_taken_first_and_sooner_wins() -> None:
    agenda = Agenda()
    agenda.put("b", 0.15)
    agenda.put("a", 60)
    agenda.put("a", 0.05)
    agenda.put("a", 60)
    assert [agenda.take(), agenda.take()] == ["a", "b"]


def test_what_is_in_hand_is_not_taken_by_another_and_not_forgotten() -> None:
    agenda, taken = Agenda(), []
    agenda.put("a")
    assert agenda.take() == "a"
    agenda.put("a")
    thread = threading.Thread(target=lambda: taken.append(agenda.take()))
    thread.start()
    time.sleep(0.1)
    assert taken == []
    agenda.give_back("a", None)
    thread.join(2)
    assert taken == ["a"]


def test_what_is_put_wakes_who_waits_for_something_later() -> None:
    agenda, taken = Agenda(), []
    agenda.put("later", 60)
    thread = threading.Thread(target=lambda: taken.append(agenda.take()))
    thread.start()
    time.sleep(0.05)
    agenda.put("now")
    thread.join(2)
    assert taken == ["now"]


def test_what_is_given_back_rests_or_comes_again() -> None:
    agenda = Agenda()
    agenda.put("a")
    agenda.give_back(str(agenda.take()), 0.05)
    begin = time.monotonic()
    assert agenda.take() == "a"
    assert time.monotonic() - begin > 0.04


def test_a_closed_agenda_lets_everybody_go() -> None:
    agenda = Agenda()
    taken: list[str | None] = []
    threads = [threading.Thread(target=lambda: taken.append(agenda.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    agenda.close()
    for thread in threads:
        thread.join(2)
    assert taken == [None] * 3
