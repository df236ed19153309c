"""Relation sentences: the parts, the spans, the variety of the sentences, and errors that name the line."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from importlib import import_module

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from tlcourse import data

relations = import_module("tlcourse.data.relations")
MARKED = re.compile(r"\[H\].*?\[/H\]|\[T\].*?\[/T\]")


@pytest.fixture(scope="module")
def whole():
    return data.relations()


def entities(sentences):
    for text, head, tail in zip(sentences.texts, sentences.heads.tolist(), sentences.tails.tolist(), strict=True):
        yield text[slice(*head)].casefold(), text[slice(*tail)].casefold()


def test_twelve_relations_to_train_on_and_eight_held_out(whole):
    train, test = data.relations("train"), data.relations("test")
    assert (train.n_classes, test.n_classes, whole.n_classes) == (12, 8, 20)
    assert not set(train.names) & set(test.names)
    assert train.names + test.names == whole.names
    assert set(train.texts) | set(test.texts) == set(whole.texts)
    assert not set(train.texts) & set(test.texts)
    assert min(whole.counts().values()) >= 32
    assert set(whole.definitions) == set(whole.names)
    assert len(set(whole.definitions.values())) == 20
    with pytest.raises(KeyError, match=r"part='tset' is unknown. Did you mean 'test'\?"):
        data.relations("tset")


def test_confusable_relations_are_on_the_same_side():
    held_out = set(data.relations("test").names)
    for pair in ({"author", "director"}, {"mother", "spouse"}, {"mouth of the watercourse", "next to body of water"}):
        assert pair <= held_out


def test_the_file_and_the_loader_agree_on_markers_and_spans(whole):
    lines = relations.Path(relations.__file__).with_name("relations_sentences.txt").read_text("utf-8").splitlines()
    assert list(whole.marked) == [line for line in lines if line and not line.startswith("#")]
    for text, marked, (head, tail) in zip(whole.texts, whole.marked, entities(whole), strict=True):
        assert f"[H]{head}[/H]" in marked.casefold().replace("[h]", "[H]").replace("[/h]", "[/H]")
        assert f"[T]{tail}[/T]" in marked.casefold().replace("[t]", "[T]").replace("[/t]", "[/T]")
        assert [marked.count(marker) for marker in ("[H]", "[/H]", "[T]", "[/T]")] == [1] * 4
        assert "[" not in text
        assert text[-1] in '."'


def test_a_known_sentence(whole):
    i = next(i for i, text in enumerate(whole.texts) if text.startswith("Marie Curie was born"))
    assert whole.names[int(whole.labels[i])] == "place of birth"
    assert whole.marked[i].startswith("[H]Marie Curie[/H] was born in [T]Warsaw[/T] and")
    assert (whole.heads[i].tolist(), whole.tails[i].tolist()) == ([0, 11], [24, 30])


def test_no_sentence_and_no_pair_of_entities_occurs_twice(whole):
    assert len({text.casefold() for text in whole.texts}) == len(whole)
    pairs = [frozenset(pair) for pair in entities(whole)]
    assert {len(pair) for pair in pairs} == {2}, "head and tail are the same words"
    assert [pair for pair, times in Counter(pairs).items() if times > 1] == []


def test_entities_alone_do_not_give_the_relation_away(whole):
    seen = {}
    for pair, label in zip(entities(whole), whole.labels.tolist(), strict=True):
        for entity in pair:
            seen.setdefault(entity, set()).add(label)
    assert sum(len(labels) > 1 for labels in seen.values()) >= 100


def test_sentences_differ_in_length_order_and_opening(whole):
    assert all(6 <= len(text.split()) <= 35 for text in whole.texts)
    head_first = (whole.heads[:, 0] < whole.tails[:, 0]).float()
    assert 0.4 < head_first.mean() < 0.75
    for label, name in enumerate(whole.names):
        mine = whole.labels == label
        assert 0.2 < head_first[mine].mean() < 0.8, name
        openings = Counter(whole.texts[i].split()[0] for i in mine.nonzero().flatten().tolist())
        assert openings.most_common(1)[0][1] < 0.4 * int(mine.sum()), name


def test_no_template_shows_through(whole):
    """Outside the entities, sentences of one relation share at most four words in a row."""
    for label in range(whole.n_classes):
        found = Counter()
        for i in (whole.labels == label).nonzero().flatten().tolist():
            runs = [re.findall(r"\w+", run.lower()) for run in MARKED.split(whole.marked[i])]
            found.update({tuple(run[j : j + 5]) for run in runs for j in range(len(run) - 4)})
        assert [" ".join(words) for words, times in found.items() if times > 1] == []


def episodes_right(features, labels, *, tasks, k_shot):
    """Accuracy of the nearest mean among five relations, by cosine, on five queries of each."""
    generator = torch.Generator().manual_seed(0)
    rows = [(labels == label).nonzero().flatten() for label in labels.unique()]
    right = 0.0
    for _ in range(tasks):
        way = torch.randperm(len(rows), generator=generator)[:5].tolist()
        drawn = torch.stack([rows[c][torch.randperm(len(rows[c]), generator=generator)[: k_shot + 5]] for c in way])
        means = torch.nn.functional.normalize(features[drawn[:, :k_shot]].mean(1), dim=1)
        nearest = (features[drawn[:, k_shot:]] @ means.T).argmax(2)
        right += float((nearest == torch.arange(5)[:, None]).float().mean())
    return right / tasks


@pytest.mark.parametrize(("k_shot", "most"), [(1, 0.5), (5, 0.75)])
def test_counting_words_does_not_solve_it(k_shot, most):
    test = data.relations("test")
    for texts in (test.texts, [MARKED.sub(" ", marked) for marked in test.marked]):
        features = torch.tensor(TfidfVectorizer().fit_transform(texts).toarray(), dtype=torch.float32)
        assert 0.2 < episodes_right(features, test.labels, tasks=200, k_shot=k_shot) < most


def test_selections_keep_the_spans_and_definitions(whole):
    few = whole.only(["author", "director"]).few(3, seed=0)
    assert few.counts() == {"author": 3, "director": 3}
    marked = dict(zip(whole.texts, whole.marked, strict=True))
    assert list(few.marked) == [marked[text] for text in few.texts]
    assert few.definitions["author"] == whole.definitions["author"]
    copy = pickle.loads(pickle.dumps(few))
    assert (copy.marked, copy.definitions) == (few.marked, few.definitions)
    with pytest.raises(TypeError):
        copy.definitions["author"] = "x"


def test_the_fingerprint_depends_on_the_spans():
    def one(head, tail):
        return data.Relations(
            name="x",
            texts=("Ann met Bob.",),
            labels=torch.tensor([0]),
            classes=("met",),
            heads=torch.tensor([head]),
            tails=torch.tensor([tail]),
            definitions={"met": "The head met the tail."},
        )

    assert one((0, 3), (8, 11)).fingerprint() == one((0, 3), (8, 11)).fingerprint()
    assert one((0, 3), (8, 11)).fingerprint() != one((8, 11), (0, 3)).fingerprint()
    assert one((8, 11), (0, 3)).marked == ("[T]Ann[/T] met [H]Bob[/H].",)
    with pytest.raises(ValueError, match=r"tails\[0\] is \(8, 13\), but sentence 0 has 12 characters; choose"):
        one((0, 3), (8, 13))


def test_containers_with_gaps_are_rejected(unchecked):
    good = {
        "name": "x",
        "texts": ("Ann met Bob.",),
        "labels": torch.tensor([0]),
        "classes": ("met",),
        "heads": torch.tensor([[0, 3]]),
        "tails": torch.tensor([[8, 11]]),
        "definitions": {"met": "The head met the tail."},
    }
    with pytest.raises(ValueError, match=r"heads must be an int64 tensor of shape \(1, 2\), got torch.int64 \(2,\)"):
        data.Relations(**{**good, "heads": torch.tensor([0, 3])})
    with pytest.raises(ValueError, match="definitions has no entry for 'met'; give one for every class"):
        data.Relations(**{**good, "definitions": {}})


HEADING = "## met | train | The head met the tail."


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["[H]Ann[/H] met [T]Bob[/T]."], "line 1: a sentence before the first relation"),
        (["## met | train"], "line 1: a heading is"),
        (["# a comment", "", "## met | | The head met the tail."], "line 3: a heading is"),
        (["## met | valid | The head met the tail."], "line 1: the part of 'met' is 'valid'; choose from: train, test"),
        ([HEADING, "[H]Ann[/H] met [T]Bob[/T].", HEADING], "line 3: the relation 'met' is there already"),
        ([HEADING, "Ann met Bob."], "line 2: mark one head .* got no marker"),
        ([HEADING, "[H]Ann[/H] met Bob."], r"line 2: mark one head .* got \[H\] \[/H\]$"),
        ([HEADING, "[H]Ann[/H] met [T]Bob[/T] and [T]Cy[/T]."], "line 2: mark one head"),
        ([HEADING, "[H]Ann [T]met[/T] Bob[/H]."], "line 2: mark one head"),
        ([HEADING, "[H]Ann[/H] met [T][/T]."], "line 2: a marked entity is ''"),
        ([HEADING, "[H]Ann [/H]met [T]Bob[/T]."], "line 2: a marked entity is 'Ann '; put the markers directly"),
        ([HEADING], "the relation 'met' has no sentence"),
    ],
)
def test_the_parser_names_the_malformed_line(lines, message):
    with pytest.raises(ValueError, match=message):
        relations.parse(lines)


def test_the_parser_takes_either_order():
    (met,) = relations.parse([HEADING, "[T]Bob[/T] was met by [H]Ann[/H].", "", "# note", "[H]Ann[/H] met [T]Bo[/T]!"])
    assert met.sentences == [("Bob was met by Ann.", (15, 18), (0, 3)), ("Ann met Bo!", (0, 3), (8, 10))]


def test_loading_by_name_gives_the_parts():
    assert data.load("relations").names == data.relations("train").names
    assert data.load("relations", part="test").names == data.relations("test").names
