"""Read the constructor call that a checkpoint carries as text. It is parsed, never evaluated."""

import ast
import math
from typing import Any

from dust3r_sfm.errors import WeightsError

_MAX_CALL_CHARACTERS = 10_000
"""Far beyond any published constructor call: chosen by hand."""
_INFINITY = ("inf", "infinity")


def parse_constructor(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Class name and keyword arguments of a call such as "AsymmetricCroCo3DStereo(pos_embed='RoPE100', …)".

    Literals, tuples, lists, signs and the name inf are understood.

    Args:
        text: the call.
        where: the file, for messages.

    Raises:
        WeightsError: anything else, named.
    """
    if len(text) > _MAX_CALL_CHARACTERS:
        raise WeightsError(f"{where} describes its network in {len(text)} characters, which is no constructor call.")
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WeightsError(f"{where} describes its network as {text[:80]!r}, which is no constructor call.") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise WeightsError(f"{where} describes its network as {text[:80]!r}, which is no call with keyword arguments.")
    if any(keyword.arg is None for keyword in call.keywords):
        raise WeightsError(f"{where} describes its network as {text[:80]!r}; ** is not understood.")
    return call.func.id, {str(keyword.arg): _literal(keyword.value, where) for keyword in call.keywords}


def _literal(node: ast.expr, where: str) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.Name(id=name) if name.lower() in _INFINITY:
            return math.inf
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str() as name)], keywords=[]) if (
            name.lower().lstrip("+-") in _INFINITY
        ):
            return float(name)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_literal(item, where) for item in items)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _literal(operand, where)
            if isinstance(value, int | float):
                return -value if isinstance(sign, ast.USub) else value
    raise WeightsError(
        f"{where} describes its network with {ast.unparse(node)[:80]!r}, which is no literal and was not evaluated; "
        "use a file from a source you trust."
    )
