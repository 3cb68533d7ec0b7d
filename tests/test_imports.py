"""Imports: no circle between modules, and rooms in the one direction that `benchmark/__init__.py` draws."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import benchmark

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("benchmark", "methods", "tasks")

Graph = dict[str, set[str]]
"""By module: the modules of ours that it imports."""


def name_of(path: Path) -> str:
    """Return the dotted name of a file below `ROOT`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run: at the top and inside functions, but not those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from statements(ast.Module([other], []))
        else:
            yield from statements(node)


def imports_of(source: str) -> set[str]:
    """Return every dotted name that a source imports, and what it may be a part of."""
    names = set()
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, "imports are written out in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    # Who imports a.b.c runs a and a.b too; and the last part may be a name within a module.
    return {name.rsplit(".", cut)[0] for name in names for cut in range(name.count(".") + 1)}


def graph(sources: dict[str, str]) -> Graph:
    """Return what each module imports of the others. Packages that only hold modules import nothing."""
    return {name: (imports_of(text) & sources.keys()) - {name} for name, text in sources.items()}


def circle(modules: Graph) -> list[str]:
    """Return the modules of one circle, the first of them again at its end; empty where there is none."""
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def rooms(drawing: str) -> list[list[str]]:
    """Return the lines of the drawing in a docstring, each as the rooms that it names."""
    lines = re.findall(r"^    ([a-z_.]+(?:, [a-z_.]+)*)  ", drawing, re.MULTILINE)
    return [[f"benchmark.{room}" for room in line.split(", ")] for line in lines]


def line_of(module: str, drawn: list[list[str]]) -> int | None:
    """Return the number of the line that names a module or, of the rooms that hold it, the innermost."""
    held = [
        (len(room), line)
        for line, names in enumerate(drawn)
        for room in names
        if module == room or module.startswith(room + ".")
    ]
    return max(held)[1] if held else None


@pytest.fixture(scope="module")
def modules() -> Graph:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return graph({name_of(path): path.read_text(encoding="utf-8") for path in files})


def test_what_counts_as_an_import() -> None:
    source = (
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
        "def g():\n    from h import i\n"
    )
    assert imports_of(source) == {"a", "a.b", "c", "c.d", "f", "h", "h.i"}


def test_a_circle_through_a_function_is_found() -> None:
    sources = {"a": "import b", "b": "def f():\n    from c import x", "c": "import a", "d": "import a"}
    assert set(circle(graph(sources))) == {"a", "b", "c"}
    assert circle(graph(sources | {"c": "if TYPE_CHECKING:\n    import a"})) == []


def test_the_innermost_room_holds_a_module() -> None:
    drawn = rooms("Text.\n\n    models, data   pictures\n    models.inputs  below them\n")
    assert drawn == [["benchmark.models", "benchmark.data"], ["benchmark.models.inputs"]]
    assert line_of("benchmark.models.inputs", drawn) == 1
    assert line_of("benchmark.models.head", drawn) == 0
    assert line_of("benchmark.models_of_old", drawn) is None


def test_no_module_imports_itself_by_way_of_others(modules: Graph) -> None:
    assert circle(modules) == []


def test_rooms_import_in_the_direction_that_is_drawn(modules: Graph) -> None:
    drawn = rooms(benchmark.__doc__ or "")
    packages = {name for name in modules if any(other.startswith(name + ".") for other in modules)}
    wrong = []
    for module, imported in modules.items():
        if not module.startswith("benchmark."):
            continue
        line = line_of(module, drawn)
        assert line is not None, f"benchmark/__init__.py draws no room for {module}"
        for other in imported - packages:
            below = line_of(other, drawn)
            if below is None or below > line:
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_every_room_that_is_drawn_is_there(modules: Graph) -> None:
    assert [room for line in rooms(benchmark.__doc__ or "") for room in line if room not in modules] == []


def test_contracts_import_contracts_alone(modules: Graph) -> None:
    contracts = rooms(benchmark.__doc__ or "")[0]
    assert {"benchmark.method", "benchmark.stream", "benchmark.results"} <= set(contracts)
    for contract in contracts:
        assert modules[contract] - {"benchmark"} <= set(contracts), contract
