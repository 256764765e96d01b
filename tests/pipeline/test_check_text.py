"""How problems are shown: the line of the file with the place marked, and annotations for a workflow."""

import pytest

from jobrunner.cli.check_github import as_annotations
from jobrunner.cli.check_text import as_text
from jobrunner.pipeline import Problem, load
from jobrunner.pipeline.text import MAX_BYTES

pytestmark = pytest.mark.unit


def marked(data: str | bytes, line: int, column: int, rule: str = "PY034") -> list[str]:
    """The lines below the first, for a problem at this place."""
    problem = Problem(rule, "error", line, column, None, "Mend it.")
    text = as_text("f", [problem], data if isinstance(data, bytes) else data.encode())
    first, *others = text.split("\n")
    assert first == f"f:{line}:{column}: error {rule}: Mend it."
    assert others.pop() == ""
    return others


@pytest.mark.parametrize(
    ("line", "column", "signs"),
    [
        ("run: r:v2 a b  # why", 6, "^" * 8),
        ("run: r:v2 a b", 1, "^^^"),
        ("needs: [extrat, model]", 9, "^^^^^^"),
        ("a: {b: 'x, y', c: 1}", 8, "^^^^^^"),
        ('a: "x: \\" y" # z', 4, "^" * 9),
        ("a: [1]", 4, "^"),
        ("a:", 3, "^"),
        ("a: |", 4, "^"),
        ("a: {}", 4, "^"),
    ],
)
def test_what_stands_at_the_place_is_marked(line: str, column: int, signs: str) -> None:
    assert marked(f"# first\n{line}\n", 2, column) == [
        f"    2 | {line}",
        f"      | {' ' * (column - 1)}{signs}",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_ends_count(end: str) -> None:
    assert marked(f"a: 1{end}{end}b: 2{end}", 3, 1)[0] == "    3 | b: 2"


def test_a_byte_order_mark_is_not_shown() -> None:
    assert marked("\ufeffab: 1", 1, 1) == ["    1 | ab: 1", "      | ^^"]


def test_signs_stand_below_wide_characters_tabs_and_marks() -> None:
    assert marked("漢字:\tx: y", 1, 5) == ["    1 | 漢字: x: y", "      |       ^"]
    assert marked("e\u0301: y", 1, 5) == ["    1 | e\u0301: y", "      |    ^"]


def test_what_would_steer_the_terminal_is_not_printed() -> None:
    shown = marked("a: '\x1b[2J\u202e\x07' b", 1, 4)

    assert shown[0] == "    1 | a: '\ufffd[2J\ufffd\ufffd' b"
    assert all(line.isprintable() for line in shown)


def test_a_long_line_is_cut_around_the_place() -> None:
    line, signs = marked("x" * 5_000 + " " + "y" * 5_000, 1, 4_001)

    assert len(line) == len(signs) == 8 + 100 or line.endswith("…")
    assert line[8:].startswith("…")
    assert signs.index("^") == 8 + 61


@pytest.mark.parametrize("rule", ["PY011", "PY014", "PY016", "PS001", "PS007"])
def test_what_the_file_lacks_has_no_line(rule: str) -> None:
    assert marked("a: 1\n", 1, 1, rule) == []
    assert marked("a: 1\n", 1, 2, "PY011") != []


def test_a_place_after_the_end_and_a_file_too_long_have_no_line() -> None:
    assert marked("a: 1", 7, 1) == []
    assert marked(b"#" * (MAX_BYTES + 1), 1, 1, "PY002") == []


def test_bytes_that_are_no_text_are_shown_as_signs() -> None:
    assert marked(b"a: \xe9", 1, 4, "PY002") == ["    1 | a: \ufffd", "      |    ^"]


@pytest.mark.slow
def test_many_problems_on_one_long_line_take_linear_time() -> None:
    data = b"version: 5\nactions: {a: {" + b", ".join(b"k%d: 1" % n for n in range(20_000)) + b"}}"

    text = as_text("f", load(data).problems, data)

    assert text.count("\n") > 60_000


@pytest.mark.parametrize(
    ("line", "column", "signs"),
    [
        ("run: r analysis/model.R --x 'a b'", 6, "^"),
        ("run: 'r:v2x analysis/model.R'", 6, "^" * 6),
        ("run: &a r analysis/model.R", 6, "^" * 21),
    ],
)
def test_of_a_command_without_version_only_the_image_is_marked(line: str, column: int, signs: str) -> None:
    assert marked(line, 1, column, "PY061")[1] == f"      | {' ' * (column - 1)}{signs}"
    assert marked(line, 1, column, "PY060")[1] != f"      | {' ' * (column - 1)}^"


STUDY = """\
version: '5.0'
actions:
  extract:
    run: ehrql:v1 generate-dataset a.py --output output/data.csv.gz
    outputs: {highly_sensitive: {data: output/data.csv.gz}}
  model:
    run: r:v2 model.R
    needs: [extract]
    outputs:
      moderately_sensitive:
        table: output/table.csv
"""


def told(before: str, after: str) -> str:
    """What is told of the study with one place of it changed."""
    assert before in STUDY
    data = STUDY.replace(before, after).encode()
    return as_text("f", load(data).problems, data)


def test_both_lines_of_a_repeated_key_are_shown() -> None:
    assert told("    needs: [extract]\n", "    run: r:v2 b\n").endswith(
        "on line 7. Keep one of the two.\n"
        "    7 |     run: r:v2 model.R\n    8 |     run: r:v2 b\n      |     ^^^\n"
    )


def test_the_other_line_stands_where_it_stands_in_the_file() -> None:
    above, below = (Problem("PY003", "error", 2, 1, None, "x", beside=beside) for beside in (1, 3))
    same = Problem("PY003", "error", 2, 1, None, "x", beside=2)

    def lines(problem: Problem) -> list[str]:
        return [line[4:].rstrip() for line in as_text("f", [problem], b"a: 1\nb: 2\nc: 3").splitlines()[1:]]

    assert lines(above) == ["1 | a: 1", "2 | b: 2", "  | ^"]
    assert lines(below) == ["2 | b: 2", "  | ^", "3 | c: 3"]
    assert lines(same) == ["2 | b: 2", "  | ^"]


def test_an_unknown_level_comes_before_what_follows_from_it() -> None:
    text = told("moderately_sensitive", "moderate_sensitive")
    assert text.index("f:10:7: error PY041") < text.index("f:9:5: error PY040")

    both = told("moderately_sensitive", "moderate_sensitive: {}\n      secret")
    assert [line.split()[2] for line in both.splitlines() if line.startswith("f:")] == [
        "PY041:", "PY041:", "PY040:"
    ]  # fmt: skip
    alone = told(":\n      moderately_sensitive:\n        table: output/table.csv\n", ": {}\n")
    assert [line.split()[2] for line in alone.splitlines() if line.startswith("f:")] == ["PY040:"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    needs", "      needs", "line 8 begins after 6 spaces and line 7 above it after 4, so it is"),
        ("    needs", "     # x\n     needs", "9 begins after 5 spaces, which fits no line above it: line 7 "
         "begins after 4. Give it as many"),
        ("    needs", "   needs", "8 begins after 3 spaces, which fits no line above it: line 3 begins "
         "after 2, line 7 after 4. Give it as many"),
        ("  model:", " model:", "6 begins after 1 space, which fits no line above it: line 1 begins after 0, "
         "line 3 after 2. Give"),
        ("run: r:v2 model.R", "run: 'r:v2' model.R", "this line does not fit the list or mapping"),
        ("run: r:v2 model.R", "run: r:v2: model.R: x", "`:` followed by a space stands where no value may"),
    ],
)  # fmt: skip
def test_a_wrong_indent_is_told_with_the_spaces_of_both_lines(before: str, after: str, said: str) -> None:
    text = told(before, after)
    assert "error PY001: This is not valid YAML: " in text
    assert said in text


def test_annotations() -> None:
    problems = [
        Problem("PY037", "error", 8, 13, "model", "Action `model` needs `a:b, 100%`."),
        Problem("PS024", "warning", 9, 1, None, "Remove one.\nYes."),
    ]

    assert as_annotations("study/a,b:c%.yaml", problems).splitlines() == [
        "::error file=study/a%2Cb%3Ac%25.yaml,line=8,col=13,title=PY037::Action `model` needs `a:b, 100%25`.",
        "::warning file=study/a%2Cb%3Ac%25.yaml,line=9,col=1,title=PS024::Remove one.%0AYes.",
    ]


def test_a_file_name_cannot_make_another_command() -> None:
    text = as_annotations("a\n::set-output name=x::y", [Problem("PS007", "error", 1, 1, None, "x")])

    assert text.count("\n") == 1
    assert text.startswith("::error file=a%0A%3A%3Aset-output")
