"""Change one thing in the code, run the tests that import it, and report which changes no test notices.

    python scripts/mutants.py --count 60 --seed 0            # a fresh sample over the core's files
    python scripts/mutants.py --count 5 benchmark/scoring    # five in one folder
    python scripts/mutants.py --count 60 --seed 0 --first 21 --last 40   # a part of a sample, hours apart

Each mutant is one edit of one expression: a comparison or a sign turned round, a number moved by one, `and`
for `or`, `any` for `all`, a statement left out. It is written into a copy of the checkout, so that the
working tree is never touched. The tests are those that import the changed file, themselves or by one step, or
that name the method which it belongs to.
The exit code is 0 if at least `--least` of the mutants were killed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ("benchmark/scoring", "benchmark/lora", "benchmark/running", "benchmark/results", "methods/pieces")
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NO_TESTS = 5
NAMES = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list"}


@dataclass(frozen=True)
class Mutant:
    """One edit of one file.

    Attributes:
        text: the whole file with the edit.
    """

    path: Path
    line: int
    what: str
    text: str


def find_edits(tree: ast.Module) -> Iterator[tuple[int, str, Callable[[ast.AST], None]]]:
    """Yield `(index of the node in ast.walk, what changes, the edit of that node)`.

    Decorators are left alone: `frozen=True` keeps a writer from a mistake and changes nothing that runs.
    """
    decorators = [one for node in ast.walk(tree) for one in getattr(node, "decorator_list", [])]
    beside = {id(node) for decorator in decorators for node in ast.walk(decorator)}
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in beside:
            continue
        if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
            swap = SWAPS[type(node.op)]
            yield index, f"{type(node.op).__name__} -> {swap.__name__}", _set_operator(swap)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
            swap = SWAPS[type(node.ops[0])]
            yield index, f"{type(node.ops[0]).__name__} -> {swap.__name__}", _set_comparison(swap)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield index, f"{node.value} -> {node.value + 1}", _add_one
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield index, f"{node.value} -> {not node.value}", _negate
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
            yield index, f"{node.func.id} -> {NAMES[node.func.id]}", _rename_call
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            yield index, f"{type(node.op).__name__} left out", _drop_sign
        elif isinstance(node, ast.AugAssign | ast.Expr) and not isinstance(
            getattr(node, "value", None), ast.Constant | ast.Yield | ast.YieldFrom
        ):
            yield index, "statement left out", _drop_statement


def _set_operator(swap: type[ast.AST]) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, "op", swap())


def _set_comparison(swap: type[ast.AST]) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, "ops", [swap()])


def _add_one(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    node.value = node.value + 1


def _negate(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    node.value = not node.value


def _rename_call(node: ast.AST) -> None:
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    node.func.id = NAMES[node.func.id]


def _drop_sign(node: ast.AST) -> None:
    assert isinstance(node, ast.UnaryOp)
    node._instead = node.operand  # type: ignore[attr-defined]


def _drop_statement(node: ast.AST) -> None:
    node._instead = ast.Pass()  # type: ignore[attr-defined]


class _Replace(ast.NodeTransformer):
    def visit(self, node: ast.AST) -> ast.AST:
        instead: ast.AST | None = getattr(node, "_instead", None)
        return self.generic_visit(node) if instead is None else instead


def make_mutant(path: Path, tree: ast.Module, number: int) -> Mutant:
    """Return a file with one of the edits that `find_edits` yields for it, by its number among them."""
    changed = copy.deepcopy(tree)
    index, what, edit = list(find_edits(changed))[number]
    node = list(ast.walk(changed))[index]
    edit(node)
    text = ast.unparse(ast.fix_missing_locations(_Replace().visit(changed)))
    return Mutant(path, getattr(node, "lineno", 0), what, text)


def find_tests(path: Path) -> list[str]:
    """Return the test files that import a module, then those one import away, then those that name a method.

    Methods are found by their registered names, so that tests of one need not import it.
    """
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    direct = _importers(module, ROOT.glob("tests/test_*.py"))
    near = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in _importers(module, _sources())]
    more = {test for other in near for test in _importers(other, ROOT.glob("tests/test_*.py"))}
    files = {path.relative_to(ROOT), *(Path(*other.split(".")) for other in near)}
    keys = [f'"{file.stem.replace("_", "-")}"' for file in files if file.parts[:-1] == ("methods",)]
    keyed = {
        test
        for test in ROOT.glob("tests/test_*.py")
        if any(key in test.read_text(encoding="utf-8") for key in keys)
    }
    ordered = [*sorted(direct), *sorted(more - set(direct)), *sorted(keyed - more - set(direct))]
    named = [test for test in ordered if path.stem in test.stem]
    return [str(test.relative_to(ROOT)) for test in dict.fromkeys([*named, *ordered])]


def _sources() -> Iterator[Path]:
    for folder in ("benchmark", "methods", "tasks"):
        yield from ROOT.joinpath(folder).rglob("*.py")


def _importers(module: str, files: Iterator[Path]) -> list[Path]:
    parent, _, name = module.rpartition(".")
    found = re.compile(
        rf"import {re.escape(module)}\b|from {re.escape(module)} import|"
        rf"from {re.escape(parent)} import (?:\([^)]*|[^\n]*)\b{re.escape(name)}\b"
    )
    return [file for file in files if found.search(file.read_text(encoding="utf-8"))]


def kill(mutant: Mutant, copied: Path, seconds: float) -> str:
    """Return how a mutant ended: killed, survived, or undecided where the tests ran out of time."""
    target = copied / mutant.path.relative_to(ROOT)
    kept = target.read_text(encoding="utf-8")
    target.write_text(mutant.text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(copied), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        tests = find_tests(mutant.path)
        if not tests:
            return "survived (no test imports it)"
        ends = time.monotonic() + seconds
        # What fails, fails sooner among the fast ones.
        for which in ("not slow", "slow"):
            ended = subprocess.run(
                [*command, "-m", which, *tests],
                cwd=copied,
                env=environment,
                capture_output=True,
                timeout=max(ends - time.monotonic(), 1),
                check=False,
            )
            if ended.returncode not in (0, NO_TESTS):
                return "killed"
        return "survived"
    except subprocess.TimeoutExpired:
        return "undecided (timed out)"
    finally:
        target.write_text(kept, encoding="utf-8")


def sample(places: list[str], count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants, drawn evenly over the files so that long ones do not fill the sample."""
    files = []
    for place in places:
        path = ROOT / place
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files if file.exists()}
    counts = {file: sum(1 for _ in find_edits(tree)) for file, tree in trees.items()}
    choices = [file for file, edits in counts.items() if edits]
    generator = random.Random(seed)
    chosen: dict[tuple[Path, int], Mutant] = {}
    while len(chosen) < min(count, sum(counts.values())):
        file = generator.choice(choices)
        number = generator.randrange(counts[file])
        if (file, number) not in chosen:
            chosen[file, number] = make_mutant(file, trees[file], number)
    return list(chosen.values())


def main() -> int:
    """Make, run and count mutants; return 1 where fewer were killed than asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("places", nargs="*", default=list(CORE), help="files or folders to change")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=1, help="of the sample, counted from 1")
    parser.add_argument("--last", type=int, help="of the sample")
    parser.add_argument("--seconds", type=float, default=600, help="most for one mutant's tests")
    parser.add_argument("--least", type=float, default=0.95, help="share that must be killed")
    asked = parser.parse_args()
    numbered = list(enumerate(sample(asked.places, asked.count, asked.seed), 1))
    mutants = numbered[max(asked.first, 1) - 1 : asked.last]
    killed, started = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "checkout"
        shutil.copytree(ROOT, copied, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__"))
        data = ROOT.parent / "shared"
        if data.exists():
            (copied.parent / "shared").symlink_to(data)
        for done, (number, mutant) in enumerate(mutants, 1):
            how = kill(mutant, copied, asked.seconds)
            killed += how.startswith("killed")
            left = (time.monotonic() - started) / done * (len(mutants) - done)
            place = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
            print(f"{number:3d}  {how:20s} {place}  {mutant.what}  ({left / 60:.0f} min left)", flush=True)
    # What ran out of time says nothing of the tests: it counts as not killed.
    share = killed / len(mutants) if mutants else 0.0
    print(f"{killed} of {len(mutants)} killed ({share:.0%})")
    return int(share < asked.least)


if __name__ == "__main__":
    sys.exit(main())
