"""YAML in which nothing stands twice."""

from collections.abc import Hashable
from typing import Any, override

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _Once(yaml.SafeLoader):
    """Refuses a mapping with a member twice: the second would silently take the place of the first."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names: list[Any] = []
        for key in (key for key, _ in node.value if key.tag != _MERGE):
            name = self.construct_object(key, deep=True)
            if name in names:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice", key.start_mark)
            names.append(name)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> Any:
    """Return the one document in the text. Raises yaml.YAMLError, for a member that stands twice too."""
    loader = _Once(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
