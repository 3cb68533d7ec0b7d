"""The 15 text classification tasks of the standard CL benchmark and the long sequence: facts about each.

Labels, groups, instructions and text forms are those of O-LoRA's `CL_Benchmark`
(https://github.com/cmnfriend/O-LoRA, commit 07117e1f), which most papers on these streams share. The hub
sets are where those rows came from; their test labels are hidden for GLUE and SuperGLUE, so everybody tests
on validation there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.data.hub import HubSet

Row = Mapping[str, Any]

# The five-task orders are those of Progressive Prompts' script (arazd/ProgressivePrompts, BERT_codebase) and,
# the last, of the MbPA++ line of papers, which numbers the four the other way round.
ORDERS: dict[str, tuple[str, ...]] = {
    "1": ("dbpedia", "amazon", "yahoo", "agnews"),
    "2": ("dbpedia", "amazon", "agnews", "yahoo"),
    "3": ("yahoo", "amazon", "agnews", "dbpedia"),
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
        form: builds O-LoRA's text from a row of the hub.
        columns: the columns that `form` reads.
        licence: of the rows.
        label_column: the hub's column of label numbers.
        first_label: the number of the first label on the hub.
        test_split: the hub's split that is tested on.
        sapt_labels: SAPT's label names in the order of `labels`, where they are others.
    """

    group: str
    directory: str
    labels: tuple[str, ...]
    hub: HubSet
    hub_labels: tuple[str, ...]
    form: Callable[[Row], str]
    columns: tuple[str, ...]
    licence: str
    label_column: str = "label"
    first_label: int = 0
    test_split: str = "test"
    sapt_labels: tuple[str, ...] = ()

    @property
    def sapt_words(self) -> tuple[str, ...]:
        """The label names of SAPT's files."""
        return self.sapt_labels or self.labels

    @property
    def instruction(self) -> str:
        """O-LoRA's instruction, with its closing line break; empty for COPA."""
        return INSTRUCTIONS[self.group]


def pair(first: str, second: str, left: str, right: str) -> Callable[[Row], str]:
    """Return the form of two marked lines, `left: <column first>` and `right: <column second>`."""
    return lambda row: f"{left}: {row[first]}\n{right}: {row[second]}"


def copa(row: Row) -> str:
    """Return COPA's question with its two options."""
    question = f'Which sentence is the {row["question"]} of "{row["premise"]}"? Choose one between A and B.'
    return f"{question}\nA: {row['choice1']}\nB: {row['choice2']}"


def multirc(row: Row) -> str:
    """Return paragraph, question and the answer that is to be judged."""
    parts = f"paragraph: {row['paragraph']}\nquestion: {row['question']}"
    return f"{parts}\ncandidate answer: {row['answer']}"


def yahoo(row: Row) -> str:
    """Return question and answer as SAPT writes them."""
    return f"Question: {row['question_title']} {row['question_content']} Answer: {row['best_answer']}"


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


AMAZON = HubSet("yassiracharki/Amazon_Reviews_for_Sentiment_Analysis_fine_grained_5_classes", recalled=True)

TASKS: dict[str, TextTask] = {
    "yelp": TextTask(
        group="SC",
        directory="yelp",
        labels=STARS,
        hub=HubSet("Yelp/yelp_review_full"),
        hub_labels=STARS,
        form=lambda row: f"Text: {row['text']}\n",
        columns=("text",),
        licence="Yelp dataset terms",
    ),
    "amazon": TextTask(
        group="SC",
        directory="amazon",
        labels=STARS,
        hub=AMAZON,
        hub_labels=STARS,
        form=lambda row: f"Title: {row['review_title']}\nText: {row['review_text']}\n",
        columns=("review_title", "review_text"),
        licence="not stated",
        label_column="class_index",
        first_label=1,
    ),
    "imdb": TextTask(
        group="SC",
        directory="IMDB",
        labels=GOOD_BAD,
        hub=HubSet("stanfordnlp/imdb"),
        hub_labels=("Bad", "Good"),
        form=lambda row: row["text"],
        columns=("text",),
        licence="not stated",
    ),
    "sst2": TextTask(
        group="SC",
        directory="SST-2",
        labels=GOOD_BAD,
        hub=glue("sst2"),
        hub_labels=("Bad", "Good"),
        form=lambda row: f"Text: {row['sentence']}",
        columns=("sentence",),
        licence="not stated",
        test_split="validation",
    ),
    "agnews": TextTask(
        group="TC",
        directory="agnews",
        labels=NEWS,
        hub=HubSet("fancyzhx/ag_news"),
        hub_labels=NEWS,
        # The hub holds title and text in one string, so the two cannot be marked apart.
        form=lambda row: f"Text: {row['text']}\n",
        columns=("text",),
        licence="non-commercial, academic use",
    ),
    "dbpedia": TextTask(
        group="TC",
        directory="dbpedia",
        labels=ENTITIES,
        hub=HubSet("fancyzhx/dbpedia_14"),
        hub_labels=ENTITIES,
        # O-LoRA's rows have two blanks here, one of them the content's own.
        form=lambda row: f"Title: {row['title']}\nText:  {row['content'].lstrip()}\n",
        columns=("title", "content"),
        licence="CC BY-SA 3.0",
    ),
    "yahoo": TextTask(
        group="TC",
        directory="yahoo",
        labels=TOPICS,
        hub=HubSet("community-datasets/yahoo_answers_topics"),
        hub_labels=TOPICS,
        form=yahoo,
        columns=("question_title", "question_content", "best_answer"),
        licence="Yahoo Webscope: approved non-commercial research",
        label_column="topic",
    ),
    "mnli": TextTask(
        group="NLI",
        directory="MNLI",
        labels=("neutral", "entailment", "contradiction"),
        hub=glue("mnli"),
        hub_labels=("entailment", "neutral", "contradiction"),
        form=pair("premise", "hypothesis", "sentence 1", "sentence 2"),
        columns=("premise", "hypothesis"),
        licence="mixed, mostly permissive",
        test_split="validation_matched",
    ),
    "cb": TextTask(
        group="NLI",
        directory="CB",
        labels=("entailment", "contradiction", "neutral"),
        hub=super_glue("cb"),
        hub_labels=("entailment", "contradiction", "neutral"),
        form=pair("premise", "hypothesis", "sentence 1", "sentence 2"),
        columns=("premise", "hypothesis"),
        licence="unclear",
        test_split="validation",
    ),
    "rte": TextTask(
        group="NLI",
        directory="RTE",
        labels=("contradiction", "entailment"),
        hub=glue("rte"),
        # O-LoRA calls what is not entailed a contradiction.
        hub_labels=("entailment", "contradiction"),
        form=pair("sentence1", "sentence2", "sentence 1", "sentence 2"),
        columns=("sentence1", "sentence2"),
        licence="not stated",
        test_split="validation",
    ),
    "qqp": TextTask(
        group="QQP",
        directory="QQP",
        labels=FALSE_TRUE,
        hub=glue("qqp"),
        hub_labels=FALSE_TRUE,
        form=pair("question1", "question2", "first sentence", "second sentence"),
        columns=("question1", "question2"),
        licence="Quora's terms, non-commercial",
        test_split="validation",
        sapt_labels=("no", "yes"),
    ),
    "boolq": TextTask(
        group="BoolQA",
        directory="BoolQA",
        labels=TRUE_FALSE,
        hub=super_glue("boolq"),
        hub_labels=FALSE_TRUE,
        form=pair("question", "passage", "question", "passage"),
        columns=("question", "passage"),
        licence="CC BY-SA 3.0",
        test_split="validation",
    ),
    "copa": TextTask(
        group="COPA",
        directory="COPA",
        labels=("A", "B"),
        hub=super_glue("copa"),
        hub_labels=("A", "B"),
        form=copa,
        columns=("premise", "choice1", "choice2", "question"),
        licence="BSD 2-clause",
        test_split="validation",
    ),
    "multirc": TextTask(
        group="MultiRC",
        directory="MultiRC",
        labels=FALSE_TRUE,
        hub=super_glue("multirc"),
        hub_labels=FALSE_TRUE,
        form=multirc,
        columns=("paragraph", "question", "answer"),
        licence="research use",
        test_split="validation",
    ),
    "wic": TextTask(
        group="WiC",
        directory="WiC",
        labels=TRUE_FALSE,
        hub=super_glue("wic"),
        hub_labels=FALSE_TRUE,
        form=lambda row: f"word: {row['word']}\n{row['sentence1']}\n{row['sentence2']}",
        columns=("word", "sentence1", "sentence2"),
        licence="CC BY-NC 4.0",
        test_split="validation",
    ),
}
