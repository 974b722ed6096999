"""Whether what a file of our own holds is of the types that were written."""

from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of a type: a class, `None`, `Any`, or a union, list or dictionary of those."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if kind is None:
        return value is None
    if origin in (Union, UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is list:
        return isinstance(value, list) and all(fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(key, arguments[0]) and fits(item, arguments[1]) for key, item in value.items()
        )
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def require_kinds(record: Any) -> None:
    """Check every field of a dataclass.

    Raises:
        TypeError: one is of another type than it is declared.
    """
    for name, kind in get_type_hints(type(record)).items():
        if not fits(getattr(record, name), kind):
            raise TypeError(f"{name} is of another kind")
