"""Ways to damage bytes, JSON values and names, each drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

CONTROL = ("\x1b[31m", "\x07", "\x00", "\x9b2J", "\x7f", "\u202e", "\u2028", "a\rb", "a\nb")
"""What moves a terminal's cursor, rings its bell, or turns or breaks a line."""

HOSTILE = (
    *CONTROL,
    *("", " ", "-", "--", "..", "../../x", "/", "\\", "~", ".hidden", "con"),
    *("a/b", "a\\b", "%s", "{0}", "$HOME"),
    *("nan", "inf", "-1", "0", "1e999", "9" * 5000, "0x10", "1,", ","),
    *("1-", "-3-1", "0-999999999999", "true"),
    *("<script>", "|", "`x`", "[x](y)", "'", '"', "\u200b", "l\u0456telora", "caf\u00e9", "cafe\u0301"),
    *("\U0001f600", "a" * 300, "=", "a=", "=1", "a=b=c", "all", "none", "null", "None", "*", "?", "@", "#"),
)
"""Names and values that a person may hand over by accident, or on purpose."""

NUMBERS = (-1, 0, 2**31, 2**63, 2**64, 10**40, 1e308, -1e308, 1e-320, 0.5, True, -0.0)


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes of which some are flipped, cut, doubled, inserted or moved."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        at = rng.randrange(len(found) + 1)
        end = min(len(found), at + rng.choice((1, 2, 8, 100)))
        kind = rng.randrange(7)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at:end]
        elif kind == 2:
            found[at:at] = found[at:end]
        elif kind == 3:
            found[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif kind == 4:
            del found[at:]
        elif kind == 5:
            found[at:at] = rng.choice(
                (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"[" * 5000)
            )
        else:
            found[at:end] = bytes(end - at)
    return bytes(found)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value within a JSON value."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value[:6])
    return [path] * bool(path) + [one for key, part in inner for one in places(part, (*path, key))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a JSON value with another value at a path."""
    found = copy.deepcopy(value)
    holder = found
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return found


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a copy of a JSON value without what stands at a path."""
    found = copy.deepcopy(value)
    holder = found
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return found


def odd_value(rng: random.Random) -> Any:
    """Return a value that is likely to be of the wrong type, size or sign."""
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    return rng.choice((None, [], {}, [[]], {"x": 1}, deep, rng.choice(HOSTILE), rng.choice(NUMBERS)))


def damage_json(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one or more of its parts replaced, deleted, renamed or added."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        listed = places(value)
        if not listed:
            return odd_value(rng)
        path, kind = rng.choice(listed), rng.randrange(6)
        if kind <= 2:
            value = changed(value, path, odd_value(rng))
        elif kind == 3:
            value = without(value, path)
        elif kind == 4 and isinstance(path[-1], str):
            value = changed(without(value, path), (*path[:-1], path[-1] + rng.choice(HOSTILE)), 1)
        else:
            value = changed(value, (rng.choice(HOSTILE),), 1) if isinstance(value, dict) else [value]
    return value


def with_control(value: Any, rng: random.Random) -> Any:
    """Return a JSON value one of whose texts holds a control character."""
    texts = [path for path in places(value) if isinstance(at(value, path), str)]
    path = rng.choice(texts)
    return changed(value, path, at(value, path) + rng.choice(CONTROL))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """Return what stands at a path of a JSON value."""
    for key in path:
        value = value[key]
    return value


def as_bytes(value: Any, rng: random.Random) -> bytes:
    """Return a JSON value as text, now and then with what JSON does not have."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1:
        text = text.replace("0.", rng.choice(("NaN", "1e999", "0.0.", "9" * 5000 + ".")), 1)
    return text.encode("utf-8", "surrogatepass")


def toml(value: Any) -> str:
    """Return a value as TOML, tables written inline; what TOML does not have becomes a text."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(part) for part in value) + "]"
    return json.dumps("null" if value is None else value)


def toml_file(content: Any) -> str:
    """Return a file's content as TOML, one key a line."""
    if not isinstance(content, dict):
        return toml(content)
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in content.items())


def damage_tensors(path: Path, rng: random.Random) -> bool:
    """Damage a safetensors file; return whether it certainly no longer holds what it did."""
    from safetensors.torch import load, save

    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__")
    tensors, kind = load(data), rng.randrange(7)
    name = rng.choice(sorted(tensors))
    if kind == 0:
        path.write_bytes(data[: rng.randrange(len(data))])
        return True
    if kind == 1:
        tensors[f"{name}x{rng.choice(HOSTILE)}"] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = tensors[name].flatten().repeat(2)
    elif kind == 3:
        del tensors[name]
    elif kind == 4:
        tensors["extra" + rng.choice(HOSTILE)] = tensors[name].clone()
    elif kind == 5:
        tensors[name] = (tensors[name].double() * float("nan")).to(tensors[name].dtype)
        if not tensors[name].isnan().any():
            del tensors[name]
    else:
        path.write_bytes(damage_bytes(data[: 8 + length], rng) + data[8 + length :])
        return False
    path.write_bytes(save(tensors, metadata))
    return True
