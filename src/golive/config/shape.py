"""What the model knows at a path: which keys, which kind of value. For suggestions and for names of variables."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from golive.config.locate import Path
from golive.config.promises import Table
from golive.config.settings import Settings
from golive.config.types import Section
from golive.slo.row import Row


def annotation_at(path: Path) -> Any:
    """The type of the value at *path*; None when there is no such key, Any where keys are free."""
    here: Any = Settings
    for part in path:
        here = _bare(here)
        if isinstance(here, type) and issubclass(here, Section):
            here = _fields(here).get(str(part))
            if here is None:
                return None
        elif get_origin(here) in (dict, list):
            here = get_args(here)[-1]
        else:
            return Any if here in (Any, Row) else None
    return _bare(here)


def keys_at(path: Path) -> list[str]:
    """The keys a table at *path* may have; empty when its keys are free, or when it is not a table."""
    here = annotation_at(path)
    return list(_fields(here)) if isinstance(here, type) and issubclass(here, Section) else []


def _fields(section: type[Section]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def _bare(annotation: Any) -> Any:
    """Without ``Annotated`` and without ``| None``; of a table made from a promise the section itself."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation.section()
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else Any
    return annotation
