"""A DAG of an operator's own: it counts the words of a text. Nothing of Landcast is imported."""

import csv
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context, task


@dag(dag_id="count-words", schedule=None, catchup=False)
def count_words() -> None:
    """Count the words, then write how often each is in the text."""

    @task(retries=1, retry_delay=timedelta(seconds=10))
    def count() -> dict[str, int]:
        """Count; the order's inputs are in the run's configuration, as they were sent."""
        words = get_current_context()["dag_run"].conf["inputs"]["text"].split()
        return {word: words.count(word) for word in words}

    @task
    def write(counts: dict[str, int]) -> str | dict[str, int]:
        """Return the result: a value, or the name of a file below the folder that the process entry names."""
        order = get_current_context()["dag_run"].conf
        if not order["inputs"].get("table"):
            return counts
        path = Path(os.environ["COUNT_WORDS_FILES"], order["job"], "words.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(sorted(counts.items()))
        return str(path)

    write(count())


count_words()
