"""Chat templates around texts, and texts of two columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.data import prompts
from benchmark.data.stream_file import read_stream
from benchmark.errors import UserError
from benchmark.stream import Examples, Request, Task, Wording
from tests import tiny

TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def task(**words: str) -> Task:
    nothing = Examples([])
    return Task("colours", nothing, nothing, classes=("red", "green"), wording=Wording(**words))  # type: ignore[arg-type]


def chatting() -> object:
    tokenizer = tiny.tokenizer("causal")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_a_chat_puts_words_and_text_into_the_model_s_template() -> None:
    before, after = prompts.split_prompt(chatting(), "chat", task(definition="the thing is a"))
    assert before == "[user] the thing is a\nAnswer with one of: red, green.\n\n"
    assert after == " </s> [assistant] "


def test_a_chat_s_special_tokens_are_those_of_its_template_alone() -> None:
    tokenizer = chatting()
    protocol = tiny.protocol("causal", prompt="chat", source_length=40)
    (ids,) = prompts.encode_all(tokenizer, task(), ["the thing is round"], protocol, open_ended=True)
    words = tokenizer.convert_ids_to_tokens(ids)  # type: ignore[attr-defined]
    assert "<s>" not in words and words.count("</s>") == 1
    assert [word for word in words if word in ("the", "thing", "is", "round")] == [
        "the",
        "thing",
        "is",
        "round",
    ]
    # Where it is too long, the text is cut and the template is not.
    short = protocol.model_copy(update={"source_length": len(ids) - 2})
    (cut,) = prompts.encode_all(tokenizer, task(), ["the thing is round"], short, open_ended=True)
    assert len(cut) == len(ids) - 2 and cut[-3:] == ids[-3:]


def test_a_tokenizer_without_a_template_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="needs a model with a chat template") as caught:
        prompts.split_prompt(tiny.tokenizer("causal"), "chat", task())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_chat_is_learned_and_scored() -> None:
    made = tiny.make_method("seq-lora", "causal", settings={"prompt": "chat", "source_length": 40})
    made.task_model.backbone.tokenizer.chat_template = TEMPLATE
    assert tiny.learn(made, 0) > 0


STREAM = """
name = "pairs"
title = "Pairs"
kind = "text-classification"
licence = "made up"

[table]
source = { path = "pairs.csv" }
columns = { task = "task", split = "split", text = ["premise", "hypothesis"], label = "label" }

[protocol.smoke]
backbone = "minilm"
"""


def write_pairs(folder: Path, hypothesis: str = "it rests") -> Path:
    rows = ["task,split,premise,hypothesis,label"]
    for split in ("train", "test"):
        for number in range(8):
            label = ("yes", "no")[number % 2]
            rows.append(f"one,{split},a cat sleeps {split} {number},{hypothesis},{label}")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "pairs.toml").write_text(STREAM, encoding="utf-8")
    return folder / "pairs.toml"


def test_two_columns_become_one_text_with_their_names(tmp_path: Path) -> None:
    stream = read_stream(write_pairs(tmp_path))
    loaded = stream.load(Request("1", 0, stream.protocols["smoke"], None))
    assert loaded.tasks[0].train.texts[0] == "premise: a cat sleeps train 0\nhypothesis: it rests"


def test_a_row_without_one_of_them_is_reported(tmp_path: Path) -> None:
    stream = read_stream(write_pairs(tmp_path, hypothesis=" "))
    with pytest.raises(UserError, match="no text in the column 'hypothesis'"):
        stream.load(Request("1", 0, stream.protocols["smoke"], None))


@pytest.mark.parametrize("columns", ["[]", '["premise", "premise"]'])
def test_a_list_names_columns_once(columns: str, tmp_path: Path) -> None:
    path = write_pairs(tmp_path)
    path.write_text(STREAM.replace('["premise", "hypothesis"]', columns), encoding="utf-8")
    with pytest.raises(UserError, match="at least one column, and none twice"):
        read_stream(path)
