"""The 15 text classification tasks of the standard CL benchmark and the long sequence: facts about each.

Labels, groups, instructions and text forms are those of O-LoRA's `CL_Benchmark`
(https://github.com/cmnfriend/O-LoRA, commit 07117e1f), which most papers on these streams share. The hub
sets are where those rows came from; their test labels are hidden for GLUE and SuperGLUE, so everybody tests
on validation there.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.data.hub import HubSet

# The five-task orders are those of Progressive Prompts' script (arazd/ProgressivePrompts, BERT_codebase) and,
# the last, of the MbPA++ line of papers, which numbers the four the other way round.
ORDERS: dict[str, tuple[str, ...]] = {
    "1": ("dbpedia", "amazon", "yahoo", "agnews"),
    "2": ("dbpedia", "amazon", "agnews", "yahoo"),
    "3": ("yahoo", "amazon", "agnews", "dbpedia"),
    # This suite's own, so that each task stands first, and last, in two or three of ten orders.
    "own-4": ("amazon", "agnews", "yahoo", "dbpedia"),
    "own-5": ("agnews", "dbpedia", "amazon", "yahoo"),
    "own-6": ("amazon", "yahoo", "dbpedia", "agnews"),
    "own-7": ("agnews", "yahoo", "dbpedia", "amazon"),
    "own-8": ("yahoo", "dbpedia", "agnews", "amazon"),
    "own-9": ("amazon", "dbpedia", "agnews", "yahoo"),
    "own-10": ("yahoo", "agnews", "amazon", "dbpedia"),
    # For searches alone: its first three tasks ask for topics and for a sentiment.
    "own-11": ("dbpedia", "yahoo", "amazon", "agnews"),
    "five-1": ("agnews", "yelp", "amazon", "yahoo", "dbpedia"),
    "five-2": ("yelp", "yahoo", "amazon", "dbpedia", "agnews"),
    "five-3": ("dbpedia", "yahoo", "agnews", "amazon", "yelp"),
    "five-4": ("yelp", "agnews", "dbpedia", "amazon", "yahoo"),
    "4": (
        *("mnli", "cb", "wic", "copa", "qqp", "boolq", "rte", "imdb"),
        *("yelp", "amazon", "sst2", "dbpedia", "agnews", "multirc", "yahoo"),
    ),
    "5": (
        *("multirc", "boolq", "wic", "mnli", "cb", "copa", "qqp", "rte"),
        *("imdb", "sst2", "dbpedia", "agnews", "yelp", "amazon", "yahoo"),
    ),
    "6": (
        *("yelp", "amazon", "mnli", "cb", "copa", "qqp", "rte", "imdb"),
        *("sst2", "dbpedia", "agnews", "yahoo", "multirc", "boolq", "wic"),
    ),
}

INSTRUCTIONS: dict[str, str] = {
    "SC": "What is the sentiment of the following paragraph? Choose one from the option.\n",
    "TC": "What is the topic of the following paragraph? Choose one from the option.\n",
    "NLI": 'What is the logical relationship between the "sentence 1" and the "sentence 2"? '
    "Choose one from the option.\n",
    "QQP": 'Whether the "first sentence" and the "second sentence" have the same meaning? '
    "Choose one from the option.\n",
    "BoolQA": "According to the following passage, is the question true or false? "
    "Choose one from the option.\n",
    "MultiRC": "According to the following passage and question, is the candidate answer true or false? "
    "Choose one from the option.\n",
    "WiC": "Given a word and two sentences, whether the word is used with the same sense in both sentence? "
    "Choose one from the option.\n",
    "COPA": "",
}


@dataclass(frozen=True)
class TextTask:
    """One task.

    Attributes:
        group: O-LoRA's task code; chooses the instruction.
        directory: O-LoRA's name for the data set, which its prompt shows.
        labels: label names in the order of its `labels.json`.
        hub: where the rows come from.
        hub_labels: the label names in the order of the hub's label numbers.
        form: O-LoRA's text, with the hub's columns in braces.
        label_column: the hub's column of label numbers.
        first_label: the number of the first label on the hub.
        test_split: the hub's split that is tested on.
        sapt_labels: SAPT's label names in the order of `labels`, where they are others.
        unindented: a column whose leading blanks are left out.
    """

    group: str
    directory: str
    labels: tuple[str, ...]
    hub: HubSet
    hub_labels: tuple[str, ...]
    licence: str
    form: str
    label_column: str = "label"
    first_label: int = 0
    test_split: str = "test"
    sapt_labels: tuple[str, ...] = ()
    unindented: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The hub's columns that `form` names."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.form) if name)

    def text(self, row: Mapping[str, str]) -> str:
        """Return O-LoRA's text of a row of the hub."""
        return self.form.format_map({**row, self.unindented: row.get(self.unindented, "").lstrip()})

    @property
    def sapt_words(self) -> tuple[str, ...]:
        """The label names of SAPT's files."""
        return self.sapt_labels or self.labels

    @property
    def instruction(self) -> str:
        """O-LoRA's instruction, with its closing line break; empty for COPA."""
        return INSTRUCTIONS[self.group]


STARS = ("very negative", "negative", "neutral", "positive", "very positive")
TOPICS = (
    *(
        "Society & Culture",
        "Science & Mathematics",
        "Health",
        "Education & Reference",
        "Computers & Internet",
    ),
    *("Sports", "Business & Finance", "Entertainment & Music", "Family & Relationships"),
    "Politics & Government",
)
ENTITIES = (
    *("Company", "Educational Institution", "Artist", "Athlete", "Office Holder", "Mean of Transportation"),
    *("Building", "Natural Place", "Village", "Animal", "Plant", "Album", "Film", "Written Work"),
)
NEWS = ("World", "Sports", "Business", "Science or Technology")
FALSE_TRUE = ("False", "True")
TRUE_FALSE = ("True", "False")
GOOD_BAD = ("Good", "Bad")


def glue(config: str) -> HubSet:
    """Return a part of GLUE on the hub."""
    return HubSet("nyu-mll/glue", config, recalled=True)


def super_glue(config: str) -> HubSet:
    """Return a part of SuperGLUE on the hub, whose own form is a loading script."""
    return HubSet("aps/super_glue", config, converted=True)


NEC = ("neutral", "entailment", "contradiction")
ENC = ("entailment", "neutral", "contradiction")
ECN = ("entailment", "contradiction", "neutral")
BAD_GOOD = ("Bad", "Good")
DBPEDIA = HubSet("fancyzhx/dbpedia_14")
YAHOO = HubSet("community-datasets/yahoo_answers_topics")
WEBSCOPE = "Yahoo Webscope: approved non-commercial research"
HELD_OUT = {"test_split": "validation"}
MATCHED = {"test_split": "validation_matched"}
NO_YES = {**HELD_OUT, "sapt_labels": ("no", "yes")}
LABEL_FROM_ONE: dict[str, Any] = {"label_column": "class_index", "first_label": 1}
AMAZON = HubSet("yassiracharki/Amazon_Reviews_for_Sentiment_Analysis_fine_grained_5_classes", recalled=True)

# O-LoRA's texts, with the hub's columns in braces.
FORMS: dict[str, str] = {
    "yelp": "Text: {text}\n",
    "amazon": "Title: {review_title}\nText: {review_text}\n",
    "imdb": "{text}",
    "sst2": "Text: {sentence}",
    # The hub holds title and text in one string, so the two cannot be marked apart.
    "agnews": "Text: {text}\n",
    # O-LoRA's rows have two blanks here, one of them the content's own.
    "dbpedia": "Title: {title}\nText:  {content}\n",
    "yahoo": "Question: {question_title} {question_content} Answer: {best_answer}",  # as SAPT writes them
    "mnli": "sentence 1: {premise}\nsentence 2: {hypothesis}",
    "cb": "sentence 1: {premise}\nsentence 2: {hypothesis}",
    "rte": "sentence 1: {sentence1}\nsentence 2: {sentence2}",
    "qqp": "first sentence: {question1}\nsecond sentence: {question2}",
    "boolq": "question: {question}\npassage: {passage}",
    "copa": 'Which sentence is the {question} of "{premise}"? Choose one between A and B.\n'
    "A: {choice1}\nB: {choice2}",
    "multirc": "paragraph: {paragraph}\nquestion: {question}\ncandidate answer: {answer}",
    "wic": "word: {word}\n{sentence1}\n{sentence2}",
}
# Group, directory, labels of O-LoRA; set and labels of the hub; licence; and what is not usual.
_FACTS: dict[str, tuple[str, str, tuple[str, ...], HubSet, tuple[str, ...], str, dict[str, Any]]] = {
    "yelp": ("SC", "yelp", STARS, HubSet("Yelp/yelp_review_full"), STARS, "Yelp dataset terms", {}),
    "amazon": ("SC", "amazon", STARS, AMAZON, STARS, "not stated", LABEL_FROM_ONE),
    "imdb": ("SC", "IMDB", GOOD_BAD, HubSet("stanfordnlp/imdb"), BAD_GOOD, "not stated", {}),
    "sst2": ("SC", "SST-2", GOOD_BAD, glue("sst2"), BAD_GOOD, "not stated", HELD_OUT),
    "agnews": ("TC", "agnews", NEWS, HubSet("fancyzhx/ag_news"), NEWS, "non-commercial, academic use", {}),
    "dbpedia": ("TC", "dbpedia", ENTITIES, DBPEDIA, ENTITIES, "CC BY-SA 3.0", {"unindented": "content"}),
    "yahoo": ("TC", "yahoo", TOPICS, YAHOO, TOPICS, WEBSCOPE, {"label_column": "topic"}),
    "mnli": ("NLI", "MNLI", NEC, glue("mnli"), ENC, "mixed, mostly permissive", MATCHED),
    "cb": ("NLI", "CB", ECN, super_glue("cb"), ECN, "unclear", HELD_OUT),
    # O-LoRA calls what is not entailed a contradiction.
    "rte": ("NLI", "RTE", ("contradiction", "entailment"), glue("rte"), ENC[::2], "not stated", HELD_OUT),
    "qqp": ("QQP", "QQP", FALSE_TRUE, glue("qqp"), FALSE_TRUE, "Quora's terms, non-commercial", NO_YES),
    "boolq": ("BoolQA", "BoolQA", TRUE_FALSE, super_glue("boolq"), FALSE_TRUE, "CC BY-SA 3.0", HELD_OUT),
    "copa": ("COPA", "COPA", ("A", "B"), super_glue("copa"), ("A", "B"), "BSD 2-clause", HELD_OUT),
    "multirc": (
        "MultiRC",
        "MultiRC",
        FALSE_TRUE,
        super_glue("multirc"),
        FALSE_TRUE,
        "research use",
        HELD_OUT,
    ),
    "wic": ("WiC", "WiC", TRUE_FALSE, super_glue("wic"), FALSE_TRUE, "CC BY-NC 4.0", HELD_OUT),
}
TASKS: dict[str, TextTask] = {
    name: TextTask(*facts, form=FORMS[name], **more) for name, (*facts, more) in _FACTS.items()
}
