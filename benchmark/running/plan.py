"""From what was asked for to the runs that answer it: names resolved, settings checked, nothing run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmark.data.stream_file import is_stream_file
from benchmark.errors import UserError, unknown
from benchmark.models.backbone_store import find_folder, preset_key, remember, require_fetched
from benchmark.models.weights_hash import hash_folder
from benchmark.protocol import Protocol
from benchmark.registry import BACKBONES, METHODS, STREAMS, Registry, normalise
from benchmark.results import Tuned
from benchmark.running.catalogue import load_method, load_stream
from benchmark.running.run import Run
from benchmark.running.tuned_values import find_tuned_search, find_tuned_values
from benchmark.settings import SettingNames, Settings, assign, refine
from benchmark.stream import Stream, require_learner

TunedFor = tuple[str, str, str]
"""Method, stream and protocol, which hyper-parameters are tuned for."""

LARGEST_SEED = 2**32 - 1
LONGEST_RANGE = 1000
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def plan(
    methods: str,
    streams: str,
    orders: str | None = None,
    seeds: str = "0",
    backbone: str | None = None,
    protocol: str | None = None,
    settings: Sequence[str] = (),
    zero_shot: bool = False,
    tuned: Mapping[TunedFor, Tuned] = MappingProxyType({}),
    need_backbone: bool = True,
) -> list[Run]:
    """Return the runs that are asked for, ordered by stream, order, seed and method, none of them twice.

    Args:
        methods: keys separated by commas; "all" stands for every method of this package.
        streams: keys, or paths of TOML files, separated by commas.
        orders: names and ranges ("1-3", "1,3"), or "all"; none: the stream's first.
        backbone: a registry key, a folder or a hub id; none: the protocol's.
        protocol: a protocol of every chosen stream; none: the stream's first.
        settings: `key=value` texts for the protocol, the stream or the methods.
        zero_shot: also score tasks not learned yet.
        tuned: what searches chose, by method, stream and protocol; a setting wins over it.
        need_backbone: whether a preset must have been fetched; not for who only names runs.

    Raises:
        UserError: a name, a range or a setting is not understood, or a search is for none of the runs.
    """
    references, method_keys, seed_list = find_streams(streams), keys(METHODS, methods), parse_seeds(seeds)
    stream_keys = list(references)
    loaded = {key: load_stream(reference) for key, reference in references.items()}
    # Methods bring torch with them, so all that can be refused without it is refused first.
    order_names = {key: match_orders(loaded[key], references[key], orders) for key in stream_keys}
    protocols = {key: match_protocol(loaded[key], references[key], protocol) for key in stream_keys}
    backbones = {
        key: resolve_backbone(backbone or protocols[key].backbone, need_backbone) for key in stream_keys
    }
    for key in stream_keys:
        require_preset_learns(loaded[key], backbones[key].name)
    chosen = assign(settings, _setting_names(method_keys, loaded))
    runs = []
    for key in stream_keys:
        used = refine(Protocol, protocols[key].model_dump(), chosen.protocol, "protocol")
        parameters = _parameters(loaded[key], key, used.name, chosen)
        file = Path(references[key]).resolve() if references[key] != key else None
        found = {
            name: tuned.get((name, key, used.name)) or find_tuned_search(name, key, used.name)
            for name in method_keys
        }
        hyperparameters = {
            name: _hyperparameters(name, key, used.name, chosen, found[name]) for name in method_keys
        }
        runs += [
            Run(
                *(name, key, order, seed, backbones[key].name, used, hyperparameters[name], parameters),
                zero_shot=zero_shot,
                backbone_weights=backbones[key].weights,
                backbone_folder=backbones[key].folder,
                stream_file=file,
                tuned=_find_search(found[name], hyperparameters[name]),
            )
            for order in order_names[key]
            for seed in seed_list
            for name in method_keys
        ]
    _require_use(tuned, {(run.method, run.stream, run.protocol.name) for run in runs})
    return runs


def find_streams(asked: str) -> dict[str, str]:
    """Return the streams that a text means, by key: the key itself, or the path of the file.

    Raises:
        UserError: a name is unknown, a file is faulty, or two files have the same name.
    """
    found: dict[str, str] = {}
    for part in keys(STREAMS, asked):
        key = load_stream(part).name if is_stream_file(part) else part
        if key in found:
            raise UserError(f"{found[key]} and {part} are both named '{key}'; give one of them another name")
        found[key] = part
    return found


def match_orders(stream: Stream, key: str, asked: str | None) -> list[str]:
    """Return the names of a stream's orders that a text means, each alias as the order it stands for."""
    names = list(stream.orders)
    if asked is None:
        return [stream.default_order]
    if asked == "all":
        return names
    meant = {**stream.aliases, **{name: name for name in names}}
    known = {normalise(name): order for name, order in meant.items()}

    def match(part: str) -> list[str]:
        if part in names:
            return [part]
        wanted = _as_range(part) or [part]
        for name in wanted:
            if normalise(name) not in known:
                raise unknown(f"order of {key}", name, meant, f"bench list orders --stream {key}")
        return [known[normalise(name)] for name in wanted]

    return _each_part(asked, "--order", match)


def match_protocol(stream: Stream, key: str, asked: str | None) -> Protocol:
    """Return the protocol of a stream that a name means; the first where none is named."""
    if asked is None:
        return stream.protocols[stream.default_protocol]
    for name, protocol in stream.protocols.items():
        if normalise(name) == normalise(asked):
            return protocol
    raise unknown(f"protocol of {key}", asked, stream.protocols, f"bench list protocols --stream {key}")


@dataclass(frozen=True)
class ChosenBackbone:
    """What a text means: a preset's key, a hub id, or a folder's name with its path and its weights' hash."""

    name: str
    folder: Path | None = None
    weights: str = ""


def resolve_backbone(asked: str, needed: bool = True) -> ChosenBackbone:
    """Return the backbone that a text means: a preset, never a folder of its name; a folder; a hub id.

    Raises:
        UserError: it is none of them, a preset has not been fetched, or a folder holds no weights.
    """
    if (preset := preset_key(asked)) is not None:
        if needed:
            require_fetched(preset)
        return ChosenBackbone(preset)
    if Path(asked).is_dir():
        folder = find_folder(asked, Path(asked))
        if preset_key(folder.name) is not None:
            raise UserError(
                f"the backbone folder {asked} has the name of the preset '{preset_key(folder.name)}', under "
                "which its results would be taken for the preset's; give it another name"
            )
        weights = hash_folder(folder)
        remember(folder, weights)
        return ChosenBackbone(folder.name, folder, weights)
    if _HUB_ID.fullmatch(asked):
        return ChosenBackbone(asked)
    if "/" in asked or "\\" in asked:
        raise UserError(f"the backbone '{asked}' is neither a folder nor a hub id of the form owner/name")
    message = unknown("backbone", asked, BACKBONES.names(), BACKBONES.command)
    raise UserError(f"{message}; a folder or a hub id owner/name also works")


def require_preset_learns(stream: Stream, backbone: str) -> None:
    """Refuse a preset that cannot learn a stream; what another backbone is, is known once it is loaded.

    Raises:
        UserError: it cannot.
    """
    if backbone in BACKBONES.names():
        require_learner(stream.name, stream.kind, backbone, BACKBONES.load(backbone).kind)


def parse_seeds(asked: str) -> list[int]:
    """Return the seeds that a text means: numbers and ranges, separated by commas."""

    def match(part: str) -> list[str]:
        found = _as_range(part) or ([part] if re.fullmatch(r"[0-9]{1,10}", part) else [])
        if not found or int(found[-1]) > LARGEST_SEED:
            raise UserError(f"--seed '{part}' is not a number from 0 to 2^32 - 1 or a range such as 0-2")
        return [str(int(number)) for number in found]

    return [int(number) for number in _each_part(asked, "--seed", match)]


def keys(registry: Registry, asked: str, flag: str | None = None) -> list[str]:
    """Return the canonical keys that a text means; of streams also the paths of files that describe them.

    Args:
        flag: that gave the text, for messages; none: that of the registry's kind.
    """

    def match(part: str) -> list[str]:
        if registry is STREAMS and is_stream_file(part):
            return [part]
        if part != "all":
            return [registry.entry(part).key]
        # A plug-in is loaded only when it is asked for by name.
        return [key for key, entry in registry.entries.items() if entry.distribution is None]

    return _each_part(asked, flag or f"--{registry.kind}", match)


def _each_part(asked: str, flag: str, match: Callable[[str], Iterable[str]]) -> list[str]:
    """Return what the parts of a text mean, in order and without repeats."""
    parts = [part.strip() for part in asked.split(",")]
    if not all(parts):
        raise UserError(f"{flag} '{asked}' has an empty part; give one name or several separated by commas")
    found = list(dict.fromkeys(name for part in parts for name in match(part)))
    if not found:
        raise UserError(f"{flag} '{asked}' means nothing that is installed")
    return found


def _as_range(part: str) -> list[str]:
    """Return the numbers of a range such as "1-3" as texts; empty where the text is no range."""
    ends = re.fullmatch(r"([0-9]{1,10})-([0-9]{1,10})", part)
    if ends is None:
        return []
    first, last = int(ends[1]), int(ends[2])
    if first > last or last - first >= LONGEST_RANGE:
        raise UserError(f"the range '{part}' must run upwards and hold at most {LONGEST_RANGE} numbers")
    return [str(number) for number in range(first, last + 1)]


def _setting_names(methods: Sequence[str], streams: dict[str, Stream]) -> SettingNames:
    """Return the setting names that the chosen methods and streams have."""
    return SettingNames(
        {key: frozenset(load_method(key).Hyperparameters.model_fields) for key in methods},
        {
            key: frozenset(stream.parameters.model_fields if stream.parameters else ())
            for key, stream in streams.items()
        },
    )


def _parameters(stream: Stream, key: str, protocol: str, chosen: Settings) -> dict[str, object]:
    """Return a stream's own settings: defaults, then those a protocol goes with, then the chosen."""
    if stream.parameters is None:
        return {}
    return refine(stream.parameters, stream.published.get(protocol, {}), chosen.streams[key], key).model_dump(
        mode="json"
    )


def _hyperparameters(
    method: str, stream: str, protocol: str, chosen: Settings, found: Tuned | None
) -> dict[str, object]:
    """Return a method's settings: its defaults, those tuned for the protocol, a search's, the chosen ones."""
    loaded = load_method(method)
    base = find_tuned_values(method, stream, protocol) | (found.values if found else {})
    for name in base:
        if name not in loaded.Hyperparameters.model_fields:
            raise unknown(
                f"hyper-parameter of {method}", name, loaded.Hyperparameters.model_fields, "bench tune --help"
            )
    return refine(loaded.Hyperparameters, base, chosen.methods[method], method).model_dump(mode="json")


def _find_search(found: Tuned | None, hyperparameters: Mapping[str, object]) -> Tuned | None:
    """Return the search that chose a run's values; None where a setting put others in their place."""
    kept = found and all(hyperparameters[name] == value for name, value in found.values.items())
    return found if kept else None


def _require_use(tuned: Mapping[TunedFor, Tuned], runs: set[TunedFor]) -> None:
    for asked in tuned:
        if asked not in runs:
            raise UserError(
                f"--tuned holds values of {asked[0]} for {asked[1]}, {asked[2]}, which is none of the runs; "
                "choose that method, stream and protocol, or give the values with --set"
            )
