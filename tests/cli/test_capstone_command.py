"""`tlcourse capstone`: the script to begin with, the score, the report card, and files that cannot be scored."""

import json
import re
import runpy

import pytest

from tlcourse.checks import capstone
from tlcourse.cli import main
from tlcourse.data.capstone import CLASSES
from tlcourse.lesson import report_card

FACTS = {"method": "a <b>test</b>", "cpu_seconds": 12.0, "validation": 0.3}
IDS = [f"t{i:03}" for i in range(280)]
GOOD = [f"# {json.dumps(FACTS)}", "id,label", *(f"{name},{CLASSES[i % 10]}" for i, name in enumerate(IDS))]


@pytest.fixture
def hand_in(tmp_path, capsys):
    """Score these lines; the exit status and what was printed."""

    def score(lines, *options, raw=None):
        file = tmp_path / "mine.csv"
        file.write_bytes("\n".join(lines).encode() if raw is None else raw)
        status = main(["capstone", "score", str(file), *options])
        return status, capsys.readouterr()

    return score


def test_prints_the_score_between_the_references_and_every_class(hand_in):
    status, shown = hand_in(GOOD)
    assert status == 0
    assert re.search(r"balanced accuracy \d+\.\d%, 95 % interval", shown.out)
    assert "weak reference 22.1%, strong reference 54.8%" in shown.out
    assert all(re.search(rf"^{name} +\d+% +28$", shown.out, re.MULTILINE) for name in CLASSES)


def test_a_spreadsheets_line_ends_and_byte_order_mark_do_no_harm(hand_in):
    assert hand_in([], raw=b"\xef\xbb\xbf" + "\r\n".join(GOOD).encode())[0] == 0


def changed(line, text):
    return [*GOOD[:line], *([] if text is None else [text]), *GOOD[line + 1 :]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "is empty"),
        (GOOD[1:], "line 1 is 'id,label'"),
        (changed(0, '"# {""method"": 1}"'), "a spreadsheet has put quotes"),
        (changed(0, "# method: probe"), "no JSON after the #"),
        (changed(0, "# [1, 2]"), "holds a list"),
        (changed(0, '# {"method": "m", "cpu_seconds": 1}'), "lacks validation"),
        (changed(0, '# {"method": "m", "cpu_seconds": "1", "validation": 0.5}'), "cpu_seconds is '1'"),
        (GOOD[:1], "line 2 is 'nothing'"),
        (changed(1, "name,class"), "should be the header: id,label"),
        (changed(5, "t003"), "line 6 has 1 columns"),
        (changed(5, "t003,face,hand"), "line 6 has 3 columns"),
        (changed(5, "t999,face"), "'t999' is no test picture"),
        (changed(5, "t003,Faces"), "'Faces' is no class. Did you mean face?"),
        (changed(5, "t003,4"), "'4' is no class. There are: animal"),
        (changed(5, "t002,face"), "these ids stand there more than once: t002;"),
        (changed(0, f'# {{"method": "m", "cpu_seconds": {"9" * 400}, "validation": 0.5}}'), "cpu_seconds is 9999"),
        (changed(0, f'# {{"method": "m", "cpu_seconds": {"9" * 5000}, "validation": 0.5}}'), "line 1 cannot be read"),
        (changed(0, "# " + "[" * 100_000), "line 1 cannot be read"),
        (changed(0, '# {"method": "m", "cpu_seconds": 99, "cpu_seconds": 1, "validation": 0.5}'), "cpu_seconds twice"),
        (changed(0, '# {"method": "m\\n100 %", "cpu_seconds": 1, "validation": 0.5}'), "has line breaks"),
        (changed(1, "x" * 200_000), "should be the header"),
        (changed(5, f"t003,{'x' * 200_000}"), "line 6 has 1 columns"),
        (changed(5, None), "279 of 280 pictures have a label; missing: t003"),
        (GOOD[:2], "0 of 280"),
    ],
)
def test_a_malformed_file_is_sent_back_with_a_reason(lines, message, hand_in):
    status, shown = hand_in(lines)
    assert status == 1
    assert message in shown.err
    assert "balanced" not in shown.out


def test_a_file_that_is_no_text_or_not_there(hand_in, tmp_path, capsys):
    assert "is no UTF-8 text (byte 0)" in hand_in([], raw=b"\xff\xfe\x00a")[1].err
    assert main(["capstone", "score", str(tmp_path / "none.csv")]) == 1
    assert "is not there" in capsys.readouterr().err
    assert main(["capstone", "score", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
    assert main(["capstone", "score"]) == 1
    assert "Give the file" in capsys.readouterr().err


def test_a_score_that_does_not_stand_has_status_1_and_says_why(hand_in):
    status, shown = hand_in(changed(0, f"# {json.dumps({**FACTS, 'cpu_seconds': 90})}"))
    assert status == 1
    assert "✗ refused: 90 seconds" in shown.out


def test_the_report_card_stands_alone(hand_in, tmp_path):
    card = tmp_path / "card.html"
    assert hand_in(GOOD, "--report", str(card))[0] == 0
    text = card.read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "a &lt;b&gt;test&lt;/b&gt;" in text
    assert "<b>test" not in text
    assert not re.search(r"(src|href)=|@import|url\(|<script", text)  # no other file, no other host
    assert "prefers-color-scheme: dark" in text
    assert re.search(r'role="img" aria-label="Balanced accuracy on a line', text)
    assert all(f'<th scope="row">{name}</th>' in text for name in CLASSES)
    assert "Most is lost on" in text


def test_the_report_card_shows_refusals_and_notes():
    handed = capstone.Submission(dict.fromkeys(IDS, "face"), "m", 99.0, 0.5)
    text = report_card.section(capstone.score(handed, weak=0.2, strong=0.5))
    assert "The score does not stand." in text
    assert "Refused: 99 seconds" in text
    assert "To explain: No picture was called animal" in text
    assert "Given far more often than a tenth of the time: face." in text


@pytest.mark.parametrize(
    ("path", "message"), [("card.txt", "should end in .html"), ("no/where/card.html", "cannot be written")]
)
def test_a_report_that_cannot_be_written(path, message, hand_in, tmp_path):
    status, shown = hand_in(GOOD, "--report", str(tmp_path / path))
    assert status == 1
    assert message in shown.err


def test_start_writes_a_script_that_makes_a_submission(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["capstone", "start"]) == 0
    shown = capsys.readouterr().out
    assert "sort 280 noisy pictures into 10 classes" in shown
    assert "60 seconds of CPU time" in shown
    runpy.run_path(str(tmp_path / "my_capstone.py"), run_name="__main__")
    assert main(["capstone", "score", "my_capstone.csv"]) == 0
    assert main(["capstone", "start"]) == 1
    assert "there already" in capsys.readouterr().err
    assert main(["capstone", "start", "mine.txt"]) == 1
    assert "should end in .py" in capsys.readouterr().err
