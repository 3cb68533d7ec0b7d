"""`key=value` settings: which model a key belongs to, and what its text means there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from benchmark.errors import UserError, unknown
from benchmark.protocol import Protocol
from benchmark.registry import normalise

# The name is a folder of the results and the source a citation; the backbone has a flag of its own.
FIXED = frozenset({"name", "source", "backbone"})
PROTOCOL_FIELDS = frozenset(Protocol.model_fields) - FIXED


@dataclass
class Settings:
    """Chosen values as text, by the model that they belong to; `methods` and `streams` by key."""

    protocol: dict[str, str] = field(default_factory=dict)
    streams: dict[str, dict[str, str]] = field(default_factory=dict)
    methods: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SettingNames:
    """The fields that the chosen methods and streams have, by key."""

    methods: Mapping[str, frozenset[str]]
    streams: Mapping[str, frozenset[str]]

    @property
    def command(self) -> str:
        """The command that lists the keys."""
        return f"bench list --method {next(iter(self.methods))}"


def assign(settings: Iterable[str], known: SettingNames) -> Settings:
    """Sort `key=value` texts by what they set; the last of equal keys wins.

    Raises:
        UserError: a text has no `=`, or its key is unknown or known to several.
    """
    chosen = Settings(streams={key: {} for key in known.streams}, methods={key: {} for key in known.methods})
    for text in settings:
        key, value = key_and_value(text, known.command)
        place, dot, name = key.rpartition(".")
        if dot:
            _store_qualified(place, name, value, known, chosen)
        else:
            _store_unqualified(name, value, known, chosen)
    return chosen


def key_and_value(text: str, command: str) -> tuple[str, str]:
    """Return both sides of a `key=value` text, without spaces around them.

    Raises:
        UserError: it is none; the message names the command that lists the keys.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set '{text}' is not of the form key=value (see: {command})")
    return key.strip(), value.strip()


def write_setting(value: object) -> str:
    """Return a value as the text that `--set` reads it from."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except TypeError:
        return str(value)


def _store_qualified(place: str, name: str, value: str, known: SettingNames, chosen: Settings) -> None:
    """Store a value whose key says where it belongs."""
    if place == "protocol":
        listed = f"bench list protocols --stream {next(iter(known.streams))}"
        _require(name, PROTOCOL_FIELDS, "protocol setting", listed)
        chosen.protocol[name] = value
    elif place == "stream":
        _store_in_all(name, value, known.streams, chosen.streams, "stream")
    else:
        method = next((key for key in known.methods if normalise(key) == normalise(place)), None)
        if method is None:
            raise unknown("place of a setting", place, ["protocol", "stream", *known.methods], known.command)
        _require(name, known.methods[method], f"hyper-parameter of {method}", known.command)
        chosen.methods[method][name] = value


def _store_unqualified(name: str, value: str, known: SettingNames, chosen: Settings) -> None:
    """Store a value whose key only one of them may know."""
    methods = [key for key, fields in known.methods.items() if name in fields]
    streams = [key for key, fields in known.streams.items() if name in fields]
    owners = (["protocol"] if name in PROTOCOL_FIELDS else []) + (["stream"] if streams else []) + methods
    kinds = bool(methods) + bool(streams) + (name in PROTOCOL_FIELDS)
    if kinds > 1:
        forms = " or ".join(f"{owner}.{name}={value}" for owner in owners)
        raise UserError(f"'{name}' is a setting of {' and of '.join(owners)}; write {forms}")
    if name in FIXED:
        hint = "use --backbone" if name == "backbone" else "use --protocol to choose another protocol"
        raise UserError(f"'{name}' is not a setting; {hint}")
    if kinds == 0:
        every = PROTOCOL_FIELDS.union(*known.methods.values(), *known.streams.values())
        raise unknown("setting", name, every, known.command)
    if methods:
        _store_in_all(name, value, known.methods, chosen.methods, "method")
    elif streams:
        _store_in_all(name, value, known.streams, chosen.streams, "stream")
    else:
        chosen.protocol[name] = value


def _store_in_all(
    name: str, value: str, fields: Mapping[str, frozenset[str]], chosen: dict[str, dict[str, str]], kind: str
) -> None:
    """Store a value for every chosen method or stream, all of which must know the key."""
    lacking = [key for key in fields if name not in fields[key]]
    if lacking and len(lacking) < len(fields):
        hint = f"; write <method>.{name}=... for those that have it" if kind == "method" else ""
        raise UserError(f"the {kind} '{lacking[0]}' has no setting '{name}'{hint}")
    if lacking:
        key = lacking[0]
        raise unknown(f"setting of the {kind} {key}", name, fields[key], f"bench list --{kind} {key}")
    for key in fields:
        chosen[key][name] = value


def _require(name: str, known: Iterable[str], kind: str, command: str) -> None:
    """Raise the error for an unknown name unless it is known."""
    names = set(known)
    if name not in names:
        raise unknown(kind, name, names, command)


def refine(model: type[BaseModel], base: Mapping[str, Any], texts: Mapping[str, str], place: str) -> Any:
    """Return a `model` with the values of `base`, overridden by `texts`.

    Args:
        base: values already typed.
        place: what is set, for the message ("protocol", or a method's key).

    Raises:
        UserError: a text is of the wrong type or out of range.
    """
    values = dict(base)
    for key, text in texts.items():
        values[key] = _find_accepted(model, values, key, text, place)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"the settings of {place} do not fit together: {_describe_expected(error, None)}"
        ) from None


def _find_accepted(model: type[BaseModel], values: Mapping[str, Any], key: str, text: str, place: str) -> Any:
    """Return the first reading of a text that the field accepts."""
    reason = ""
    for candidate in _readings(text):
        try:
            model.model_validate({**values, key: candidate})
            return candidate
        except ValidationError as error:
            # A validator over several fields is heard at the end, once all values are in place.
            if not any(detail["loc"][:1] == (key,) for detail in error.errors()):
                return candidate
            if candidate == text:
                reason = _describe_expected(error, key)
    raise UserError(f"bad value for {place}.{key}: got '{text}', expected {reason}")


def _readings(text: str) -> list[Any]:
    """Return what a text can mean: nothing, itself, a JSON value, a list separated by commas."""
    readings: list[Any] = [None] if text.lower() in {"none", "null"} else []
    readings.append(text)
    try:
        readings.append(json.loads(text))
    except ValueError:
        readings.append([part.strip() for part in text.split(",")])
    return readings


def _describe_expected(error: ValidationError, key: str | None) -> str:
    """Return the first reason about a key, or the first of all, in words that follow 'expected'."""
    details = error.errors(include_url=False)
    detail = next((one for one in details if key is None or one["loc"][:1] == (key,)), details[0])
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be ", "")
    message = message.partition(", unable to parse")[0]
    where = ".".join(str(part) for part in detail["loc"]) if key is None else ""
    return " ".join(f"{where}: {message}".split()) if where else " ".join(message.split())
