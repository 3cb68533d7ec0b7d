"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# As in a run: three processes of pytest share two cores, and what they start shares them too.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of real samples: BENCH_DATA, or `shared/data` beside the repository."""
    named = os.environ.get("BENCH_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        reason = f"needs the data folder {folder}; set BENCH_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that begins empty, for this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep commits made between two runs out of their results."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "no-repository"))
