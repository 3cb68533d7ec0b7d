"""Result files: what is written comes back, and what is damaged is refused in one line."""

import json
import os

import pytest
from pydantic import ValidationError

from benchmark import results
from benchmark.errors import UserError
from tests.factories import result


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a" / "run.json"
    results.write(result(), file)
    return file


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(path):
    with pytest.raises(UserError) as caught:
        results.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_round_trip_keeps_every_field_and_every_byte(path):
    before = path.read_bytes()
    back = results.read(path)
    assert back == result()
    results.write(back, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_a_missing_file_is_named(tmp_path):
    assert "no result at" in refusal(tmp_path / "none.json")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "not complete JSON" in refusal(path)


def test_bytes_that_are_no_text_are_refused(path):
    path.write_bytes(b"\xff\xfe\x00")
    assert "not complete JSON" in refusal(path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    assert "cannot read" in refusal(tmp_path)


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_schema_is_refused(path, version):
    edit(path, schema_version=version)
    assert "schema" in refusal(path)


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_json_that_is_no_result_is_refused(path, text):
    path.write_text(text)
    assert "schema None" in refusal(path)


def test_an_unknown_key_is_refused_by_name(path):
    edit(path, methud="alpha")
    assert "methud" in refusal(path)


def test_a_missing_key_is_refused_by_name(path):
    data = json.loads(path.read_text())
    del data["provenance"]["device"]
    path.write_text(json.dumps(data))
    assert "provenance.device" in refusal(path)


def test_nan_is_refused_on_reading(path):
    path.write_text(path.read_text().replace("0.6", "NaN", 1))
    assert "NaN" in refusal(path)


def test_nan_is_refused_in_a_score_and_on_writing(tmp_path):
    with pytest.raises(ValidationError, match="finite"):
        result(headline={"forgetting": float("nan")})
    path = tmp_path / "run.json"
    with pytest.raises(UserError, match="JSON cannot"):
        results.write(result(report=[{"loss": float("nan")}]), path)
    assert not path.exists()


@pytest.mark.parametrize("scores", [[[0.5]], [[0.5, None, None, None], [0.5], []], [[0.5], [0.5], [50.0]]])
def test_a_matrix_of_another_shape_or_in_percent_is_refused(path, scores):
    edit(path, readings={"trained_head": {"matrix": scores, "rows": [], "blank": None}})
    assert "matrix" in refusal(path)


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        results.write(result(last=0.1), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_a_folder_that_cannot_be_made_gives_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as caught:
        results.write(result(), tmp_path / "file" / "deeper" / "run.json")
    assert "cannot write" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_gives_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write"):
        results.write(result(), tmp_path / "run.json")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"untrained": [0.1, 0.2]}, "2 scores of the untrained model for 3 tasks"),
        ({"needs_adapter": [True]}, "needs_adapter holds 1 values for 3 tasks"),
    ],
)
def test_what_is_said_of_each_task_is_said_of_all(changes, reason):
    whole = result(untrained=[0.1, 0.2, None], needs_adapter=[True, False, True])
    assert results.parse(results.to_json(whole.model_dump(mode="json")), "here") == whole
    with pytest.raises(ValidationError, match=reason):
        result(**changes)
