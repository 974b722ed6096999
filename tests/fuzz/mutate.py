"""Damage to files: bytes, words of a text, nodes of JSON, entries of HDF5. All draws come from the generator given."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_WORDS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e309",
    "1e30",
    "-1e30",
    "1e-30",
    "99999999999999999999",
    "",
    "x",
    "../a",
    "#",
)
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 10**400, 1e308, -1e30, float("nan"), float("inf"), "", "x", "../../a", [], {},
    [[]], [1.0], {"a": 1}, "nan",
)  # fmt: skip
_NUMBERS = (
    b"\xff" * 4, b"\0" * 8, b"\xff" * 8, b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\0\0\0\0\0\0\xf8\x7f",
    b"\0\0\0\0\0\0\xf0\x7f", b"\0\0\0\0\0\0\xf0\xff", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\0\0\0\0\0\x80",
)  # fmt: skip
"""The least and largest integers, nan and infinities, as they lie in files."""
_DEEP = 100_000
"""Brackets that no recursive reader follows."""


def mutate(path: Path, rng: np.random.Generator) -> str:
    """Damage a file in place; return how."""
    kinds = [_bytes]
    if path.suffix in (".json",):
        kinds += [_json, _json, _json]
    if path.suffix == ".h5":
        kinds += [_hdf5, _hdf5, _hdf5]
    if path.suffix in (".txt", ".json", ".out", ".nvm", ".xml", ".csv", ".toml", ".list"):
        kinds += [_words, _words, _text]
    chosen = kinds[rng.integers(len(kinds))]
    return f"{path.name}: {chosen(path, rng)}"


def _bytes(path: Path, rng: np.random.Generator) -> str:
    data = bytearray(path.read_bytes())
    size = max(len(data), 1)
    start, length = int(rng.integers(size)), int(min(rng.integers(1, 65), size))
    kind = int(rng.integers(8))
    if kind == 0:
        for place in rng.integers(size, size=rng.integers(1, 9)):
            data[place : place + 1] = bytes([data[place] ^ (1 << int(rng.integers(8)))]) if data else b"\1"
    elif kind == 1:
        del data[start:]
    elif kind == 2:
        del data[start : start + length]
    elif kind == 3:
        data[start:start] = data[start : start + length] * int(rng.integers(1, 50))
    elif kind == 4:
        data[start : start + length] = rng.bytes(length)
    elif kind == 5:
        number = _NUMBERS[rng.integers(len(_NUMBERS))]
        data[start : start + len(number)] = number
    elif kind == 6:
        other = int(rng.integers(size))
        data[start : start + length], data[other : other + length] = (
            data[other : other + length],
            data[start : start + length],
        )
    else:
        data[:64] = rng.bytes(64)
    path.write_bytes(data)
    return f"bytes {kind} at {start}"


def _words(path: Path, rng: np.random.Generator) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    filled = [index for index, line in enumerate(lines) if line.strip()]
    row = filled[rng.integers(len(filled))]
    words = lines[row].split(" ")
    place = int(rng.integers(len(words)))
    words[place] = _WORDS[rng.integers(len(_WORDS))]
    lines[row] = " ".join(words)
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"word {place} of line {row}: {words[place]!r}"


def _text(path: Path, rng: np.random.Generator) -> str:
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    row, kind = int(rng.integers(len(lines))), int(rng.integers(7))
    if kind == 0:
        del lines[row]
    elif kind == 1:
        lines.insert(row, lines[row])
    elif kind == 2:
        other = int(rng.integers(len(lines)))
        lines[row], lines[other] = lines[other], lines[row]
    elif kind == 3:
        lines[row] = "\0\x1b\u2028" + lines[row]
    elif kind == 4:
        lines[row] = lines[row] * int(rng.integers(2, 200))
    encoding = ("utf-16", "utf-8-sig")[kind - 5] if kind >= 5 else "utf-8"
    path.write_bytes("\n".join(lines).encode(encoding))
    return f"lines {kind} at {row}"


def _json(path: Path, rng: np.random.Generator) -> str:
    content = json.loads(path.read_text(encoding="utf-8"))
    if rng.random() < 0.03:
        path.write_text("[" * _DEEP)
        return "deep"
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                visit(node[key])

    visit(content)
    node, key = places[rng.integers(len(places))]
    if rng.random() < 0.2:
        del node[key]
        done = "removed"
    else:
        node[key] = _VALUES[rng.integers(len(_VALUES))]
        done = repr(node[key])[:40]
    path.write_text(json.dumps(content))
    return f"{key}: {done}"


def _hdf5(path: Path, rng: np.random.Generator) -> str:
    with h5py.File(path, "r+") as h5:
        names: list[str] = []
        h5.visit(names.append)
        name = names[rng.integers(len(names))]
        old = h5[name]
        kind = int(rng.integers(11))
        if kind == 0 and len(old.attrs):
            attribute = list(old.attrs)[rng.integers(len(old.attrs))]
            old.attrs[attribute] = _VALUES[rng.integers(3, 6)] if rng.random() < 0.5 else np.nan
            return f"{name}: attribute {attribute}"
        shape, kept = getattr(old, "shape", (3,)), getattr(old, "dtype", np.dtype("f4"))
        del h5[name]
        if kind == 1:
            h5.create_group(name)
        elif kind == 2:
            h5[name] = 3.0
        elif kind == 3:
            h5[name] = np.array(["a", "../b"], h5py.string_dtype())
        elif kind == 4:
            h5[name] = h5py.SoftLink("/" + name)
        elif kind == 5:
            h5[name] = h5py.ExternalLink("/etc/passwd", "/a")
        elif kind == 6:
            h5.create_dataset(name, (64,), "u1", external="/etc/passwd")
        elif kind == 7:
            h5.create_dataset(name, (1 << 34, 2), np.float32, fillvalue=1)
        elif kind == 8:
            number = kept if kept.kind == "f" else np.dtype("f4")
            h5[name] = np.full(shape, (np.nan, np.inf, -1, 1e4)[rng.integers(4)], number)
        elif kind == 9:
            h5[name] = np.zeros((*shape, 2)[: int(rng.integers(len(shape) + 2))], "f4" if kept.kind == "O" else kept)
    return f"{name}: entry {kind}"
