from pathlib import Path

from orchestration.heartbeat import Heartbeat, heartbeat_age


def test_the_heartbeat_has_an_age(state_dir: Path) -> None:
    assert heartbeat_age(state_dir) is None
    Heartbeat(state_dir)()
    age = heartbeat_age(state_dir)
    assert age is not None
    assert 0 <= age < 5
