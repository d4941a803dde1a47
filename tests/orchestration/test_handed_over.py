"""The value of an operator's DAG, or a file that it names below a folder, is the result of the order."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from orchestration.job import Output
from orchestration.registry import ProcessRow
from orchestration.runners import Done, Failed
from orchestration.runners.airflow.handed import result_of
from orchestration.runners.airflow.run import Run

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow


class Played:
    """An Airflow with a DAG of these last tasks and this value."""

    def __init__(self, value: Any, leaves: list[str]) -> None:
        self._value = value
        self._leaves = leaves
        self.asked = ""

    def leaves(self, _dag: str) -> list[str]:
        return self._leaves

    def value(self, *, dag: str, run: str, task: str) -> Any:
        self.asked = f"{dag} {run} {task}"
        return self._value


class OwnRun:
    """A run of an operator's DAG, and the folder of the files that it can name."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "a.csv").write_text("1,2")
        (folder / "secret.csv").write_text("hidden")
        (self.files / "link.csv").symlink_to(folder / "secret.csv")
        self.results = folder / "results"

    def result(self, value: Any, *, task: str = "", leaves: tuple[str, ...] = ("last",), below: bool = True) -> Any:
        row = ProcessRow(
            "own", dag="own", hands_over=True, task=task, files_below=str(self.files) if below else "", output="out"
        )
        run = Run("job.1", row, ("own",), self.results / "job" / "1")
        self.played = Played(value, list(leaves))
        return result_of(run, cast("Airflow", self.played))


@pytest.fixture
def own_run(tmp_path: Path) -> OwnRun:
    return OwnRun(tmp_path)


@pytest.mark.parametrize("value", [None, 1, "text", {"a": [1]}, "", "no/such/file", "a\0b", "files", ".", "/"])
def test_a_value_is_the_result_itself(own_run: OwnRun, value: Any) -> None:
    assert own_run.result(value) == Done((Output("out", value),))


@pytest.mark.parametrize(
    "name", ["../secret.csv", "link.csv", "../files/../secret.csv", "{root}/secret.csv", "/etc/passwd"]
)
def test_a_path_outside_of_the_folder_is_only_a_text(own_run: OwnRun, name: str, tmp_path: Path) -> None:
    said = name.replace("{root}", str(tmp_path))
    assert own_run.result(said) == Done((Output("out", said),))


@pytest.mark.parametrize("name", ["a.csv", "./a.csv", "{files}/a.csv", "../files/a.csv"])
def test_a_file_below_the_folder_is_copied(own_run: OwnRun, name: str) -> None:
    made = own_run.result(name.replace("{files}", str(own_run.files)))
    assert isinstance(made, Done)
    file = made.manifest[0].file
    assert file is not None
    assert (file.name, file.media_type, file.size, file.path) == ("a.csv", "text/csv", 3, "job/1/dag/a.csv")
    (own_run.files / "a.csv").write_text("changed")
    assert (own_run.results / file.path).read_text() == "1,2"


def test_without_a_folder_no_value_is_a_file(own_run: OwnRun) -> None:
    name = str(own_run.files / "a.csv")
    assert own_run.result(name, below=False) == Done((Output("out", name),))


def test_one_of_several_last_tasks_must_be_named(own_run: OwnRun) -> None:
    ending = own_run.result(1, leaves=("a", "b"))
    assert isinstance(ending, Failed)
    assert "a, b" in ending.detail
    assert "a, b" not in ending.reason
    assert own_run.result(1, leaves=("a", "b"), task="b") == Done((Output("out", 1),))
    assert own_run.played.asked == "own job.1 b"


def test_a_large_value_is_a_file(own_run: OwnRun) -> None:
    made = own_run.result(["x" * 1000] * 1001)
    assert isinstance(made, Done)
    assert made.manifest[0].file is not None
    assert made.manifest[0].media_type == "application/json"


def test_nan_and_infinity_are_null(own_run: OwnRun) -> None:
    assert own_run.result([float("nan")]) == Done((Output("out", [None]),))
