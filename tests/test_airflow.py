"""The Airflow of the tests: as deploy/airflow sets it up, killed and restarted."""

import psutil
import pytest

from tests.airflow import Airflow
from tests.reaper import lives


@pytest.mark.parametrize("component", ["scheduler", "dag-processor"])
def test_a_process_is_killed_with_all_its_children_and_comes_back(airflow: Airflow, component: str) -> None:
    leader = psutil.Process(int((airflow.folder / f"{component}.pid").read_text()))
    family = [leader, *leader.children(recursive=True)]
    airflow.kill(component)
    assert [each for each in family if lives(each)] == []
    airflow.start(component)
    airflow.wait()
    airflow.begin("test-quick", f"after-{component}")
    assert airflow.ended("test-quick", f"after-{component}") == "success"
