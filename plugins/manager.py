"""What pygeoapi knows of processes; orders themselves are `orchestration.store`'s."""

from typing import Any

from pygeoapi.process.manager.base import BaseManager


class Manager(BaseManager):
    """The configured processes; pygeoapi runs none of them and keeps no job."""

    def __init__(self, manager_def: dict[str, Any]) -> None:
        super().__init__(manager_def)
        self.is_async = True
