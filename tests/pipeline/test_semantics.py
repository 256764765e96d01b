"""What the rules say together: versions, silence, words, commands, outputs, circles, whole files."""

import json
import re

import pytest

from jobrunner.pipeline import Loaded, load, run_all_order
from jobrunner.pipeline.words import OpenQuoteError, split_words
from tests.pipeline.examples import Change, build

pytestmark = pytest.mark.unit


def short(loaded: Loaded) -> list[str]:
    return [f"{p.id} {p.line}:{p.column} {p.action or '-'}" for p in loaded.problems]


def ids(*changes: Change) -> list[str]:
    return sorted(problem.id for problem in load(build(*changes)).problems)


def action_text(name: str, needs: str) -> str:
    """Four lines: id, run, needs, outputs."""
    outputs = f"{{highly_sensitive: {{t: {name}.csv}}}}"
    return f"  {name}:\n    run: r:v2 {name}\n    needs: {needs}\n    outputs: {outputs}\n"


VALID = """\
version: '5.0'
actions:
  report:
    run: deciles-charts:v0.0.33 --input-files output/table_*.csv
    config: {title: "It's due", groups: [a, b]}
    needs: [model]
    outputs: {moderately_sensitive: {page: output/report.html}}
  extract:
    run: >
      ehrql:v1 generate-dataset analysis/many.py
      --output output/tables:arrow -- adults 2020
    outputs: {highly_sensitive: {tables: output/tables/*.arrow}}
  model:
    run: r:v2 analysis/model.R --label "first wave"
    needs: [extract]
    outputs: {highly_sensitive: {fit: output/model.rds}, moderately_sensitive: {table: output/table_*.csv}}
"""

INVALID = """\
version: '5.0'
actions:
  extract:
    run: ehrql:v1 generate-dataset analysis/dataset.py
    outputs: {highly_sensitive: {data: output/data}}
  model:
    run: r:latest analysis/model.R
    needs: [extrat, model]
    memory: 4G
    outputs: {moderately_sensitive: {table: ../table.csv, fit: out/fit.rds}}
"""


def test_whole_valid_file() -> None:
    loaded = load(VALID.encode())

    assert loaded.problems == ()
    assert loaded.pipeline is not None
    actions = loaded.pipeline.actions
    assert list(actions) == ["report", "extract", "model"]
    assert run_all_order(actions) == ("extract", "model", "report")
    assert [name for name, action in actions.items() if action.is_database_action] == ["extract"]
    assert actions["model"].argv == ("analysis/model.R", "--label", "first wave")
    assert actions["model"].command() == actions["model"].argv
    assert actions["model"].patterns() == (
        ("output/model.rds", "highly_sensitive"),
        ("output/table_*.csv", "moderately_sensitive"),
    )
    assert actions["report"].command() == (
        "--input-files",
        "output/table_*.csv",
        "--config",
        r'{"title": "It\u0027s due", "groups": ["a", "b"]}',
    )
    assert (actions["report"].image, actions["report"].image_version) == ("deciles-charts", "v0.0.33")


def test_whole_invalid_file() -> None:
    assert short(load(INVALID.encode())) == [
        "PY067 4:10 extract",
        "PY046 5:40 extract",
        "PY062 7:10 model",
        "PY037 8:13 model",
        "PS022 8:21 model",
        "PY034 9:5 model",
        "PS040 10:45 model",
        "PY047 10:64 model",
    ]


@pytest.mark.parametrize(
    ("changes", "version", "size"),
    [
        (
            [("top", "version: 3"), ("top", "expectations: {population_size: 100}"),
             ("model", "run: cohortextractor:latest generate_cohort")],
            "3.0", 100,
        ),
        ([("top", "version: 4"), ("model", "run: r:latest a.R")], "4.0", None),
        ([("top", "version: 1"),
        ("model", "outputs: {highly_sensitive: {t: output/data.csv.gz}}")], "1.0", 1000),
        ([("top", "version: '4.50'"), ("model", "run: r:latest a.R")], "4.5", None),
        ([("top", "version: 3.5"), ("top", "expectations: [anything]")], "3.5", 1000),
        ([("top", "version: 2"), ("top", "expectations:")], "2.0", 1000),
        ([("top", "version: 0x3"), ("top", "expectations: {population_size: 9.9}")], "3.0", 9),
        ([("top", "version: ' 3 '"), ("top", "expectations: {population_size: ' 12 '}")], "3.0", 12),
    ],
)  # fmt: skip
def test_valid_in_older_versions(changes: list[Change], version: str, size: int | None) -> None:
    loaded = load(build(*changes))

    assert [problem.id for problem in loaded.problems] == ["PY013"]
    assert loaded.pipeline is not None
    assert (loaded.pipeline.version, loaded.pipeline.population_size) == (version, size)


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("'5.0'", None), ("5", None), ("5.", None), ("' 5'", None), ("'05'", None), ("5e0", None),
        ("+5", None),
        ("5.1", "PS010"), (".inf", "PS010"), ("'6'", "PS010"), ("1e999", "PS010"), ("9" * 5000, "PS010"),
        (".nan", "PS011"), ("0.9", "PS011"), ("-1", "PS011"), ("true", "PS011"), ("'+5'", "PS011"),
        ("'5e0'", "PS011"), ("'5_0'", "PS011"), ("'inf'", "PS011"), ("'nan'", "PS011"), ("-.inf", "PS011"),
        ("'\u0665'", "PS011"), ("'.5'", "PS011"), ("'0'", "PS011"),
        ("five", "PY012"), ("5.0.0", "PY012"), ("''", "PY012"), ("[5]", "PY012"), ("{a: 5}", "PY012"),
        ("'0x5'", "PY012"), ("2020-01-01", "PY012"),
    ],
)  # fmt: skip
def test_version_texts(written: str, rule: str | None) -> None:
    assert ids(("top", f"version: {written}")) == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("9", None), ("9.9", None), ("'9'", None), ("1e3", None),
        ("0", "PS012"), ("0.5", "PS012"), ("true", "PS012"), (".inf", "PS012"), ("'+9'", "PS012"),
        ("'1_0'", "PS012"),
        ("'-5'", "PS012"), ("'\u0669'", "PS012"), ("9" * 5000, "PS012"), (f"'{'9' * 5000}'", "PS012"),
        ("null", "PY020"), (".nan", "PY020"), ("[9]", "PY020"), ("{a: 9}", "PY020"), ("'9.5'", "PY020"),
        ("''", "PY020"),
    ],
)  # fmt: skip
def test_population_sizes(written: str, rule: str | None) -> None:
    found = ids(("top", "version: 3"), ("top", f"expectations: {{population_size: {written}}}"))

    assert found == sorted(["PY013", *([rule] if rule else [])])


def test_without_a_usable_version_the_version_rules_are_silent() -> None:
    run_all = (
        "  run_all: {run: 'cohortextractor:latest generate_cohort', outputs: {highly_sensitive: {a: a.csv}}}"
    )
    text = f"version: 9\nexpectations: 1\nactions:\n{run_all}\n"
    text += "  b: {run: r:v1 b, outputs: {highly_sensitive: {a: a.csv}}}\n"

    assert [problem.id for problem in load(text.encode()).problems] == ["PS010"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("run: ''\n-outputs", ["PY033", "PY060"]),
        ("run: [a]\noutputs: [a]", ["PY035", "PY035"]),
        ("run: r\noutputs: {highly_sensitive: {t: a}}", ["PY046", "PY061"]),
        ("run: foo/bar", ["PY061"]),
        ("run: cohortextractor", ["PY061"]),
        ('run: "r \'x"', ["PS030"]),
        ('run: "\\x01"', ["PS034"]),
        ("run: ':'", ["PY061"]),
        ("run: foo/bar:latest", ["PS033", "PY062"]),
        ("outputs: {secret: {a: b}}", ["PY040", "PY041"]),
        ("outputs: {highly_sensitive: , moderately_sensitive: {t: a.csv}}", []),
        ("outputs: {highly_sensitive: , moderately_sensitive: }", ["PY040"]),
        ("needs: [a b, a b]", ["PY036", "PY036"]),
        ("needs: [b, b]", ["PY037", "PY037"]),
        ("needs: [model, model]", ["PS022", "PS022"]),
        ("needs: [1, ~, {}]", ["PS021", "PS021", "PS021"]),
        ("needs:", []),
        ("needs: []", []),
        ("config: {}", []),
        ("config:", []),
        ("dummy_data_file: x.csv", []),
        ("config: {a: [.inf, {b: -.inf}], c: 1e999}", ["PS050", "PS050", "PS050"]),
        ("1: x", ["PS009", "PY034"]),
        ("[a]: x", ["PS009"]),
    ],
)
def test_follow_on_silence(lines: str, found: list[str]) -> None:
    assert ids(("model", lines)) == found


def test_two_bad_commands_are_not_compared() -> None:
    assert ids(("model", "run: r a"), ("extract", "run: r a")) == ["PY061", "PY061"]


def test_an_id_is_known_to_needs_whatever_is_wrong_with_its_action() -> None:
    text = "version: 5\nactions:\n  a: 7\n"
    text += "  1: {run: r:v2 b, outputs: {highly_sensitive: {x: b.csv}}, needs: [a]}\n"
    more = "  c: {run: r:v2 c, outputs: {highly_sensitive: {x: c.csv}}, needs: ['1', a]}\n"

    assert [p.id for p in load((text + more).encode()).problems] == ["PY032", "PS009"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ("a", "b")),
        (" a\t b\r\nc ", ("a", "b", "c")),
        ("a 'b c' \"d e\"", ("a", "b c", "d e")),
        ("a'b c'\"d\"e", ("ab cde",)),
        ("''", ("",)),
        ("a '' b", ("a", "", "b")),
        (r'"a\"b\\c\d"', ('a"b\\c\\d',)),
        (r"'a\'", ("a\\",)),
        (r"a\ b \'c \\", ("a b", "'c", "\\")),
        ("a\\\nb", ("a\nb",)),
        (
            "# $HOME * ; > `x` | & ~ {a,b} !1",
            ("#", "$HOME", "*", ";", ">", "`x`", "|", "&", "~", "{a,b}", "!1"),
        ),
        ("a\u00a0b\x0bc", ("a\u00a0b\x0bc",)),
        ("", ()),
        (" \t", ()),
    ],
)
def test_splitting_into_words(text: str, words: tuple[str, ...]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", "a '", '"a\\"', "'a' \"b 'c'"])
def test_open_quotes(text: str) -> None:
    with pytest.raises(OpenQuoteError):
        split_words(text)


@pytest.mark.parametrize("version", ["v1", "v1.2.3", "v2-pre", "dev", "v.", "v..1"])
def test_good_image_versions(version: str) -> None:
    assert ids(("model", f"run: r:{version} a")) == []


@pytest.mark.parametrize(
    "version", ["", "v", "v1x", "2", "v2-rc", "main", "V1", "v1-pre-pre", "v1:2", "Latest", "v-pre"]
)
def test_bad_image_versions(version: str) -> None:
    assert ids(("model", f"run: 'r:{version} a'")) == ["PY061"]


@pytest.mark.parametrize(
    ("run", "pattern", "found"),
    [
        ("ehrql:v1 generate-dataset d.py --output out/d.csv", "out/d.csv", []),
        ("ehrql:v1 generate-dataset d.py --output=out/d.csv", "out/d.csv", []),
        ("ehrql:v1 generate-dataset d.py --output= --output out/d.csv", "out/d.csv", ["PY067"]),
        ("ehrql:v1 generate-dataset d.py --output", "out/d.csv", ["PY067"]),
        ("ehrql:v1 generate-dataset d.py --output ./out/d.csv", "out/d.csv", ["PY068"]),
        ("ehrql:v1 generate-dataset d.py --output out/t:arrow", "out/t/*.arrow", []),
        ("ehrql:v1 generate-dataset d.py --output out/t/:arrow", "out/t/x/y.arrow", []),
        ("ehrql:v1 generate-dataset d.py --output ./out/t:arrow", "out/t/x.arrow", []),
        ("ehrql:v1 generate-dataset d.py --output out/*/t:arrow", "out/a/b/t/x.arrow", []),
        ("ehrql:v1 generate-dataset d.py --output out/t:arrow", "out/t.arrow", ["PY068"]),
        ("ehrql:v1 generate-dataset d.py --output out/t:arrow", "out/t/a.csv", ["PY068"]),
        ("ehrql:v1 generate-dataset d.py --output :arrow", "a.arrow", ["PY068"]),
        ("ehrql:v1 generate-dataset d.py --output out/t?:arrow", "out/ta/a.arrow", ["PS035"]),
        ("ehrql:v1 generate_dataset d.py", "out/d.csv", ["PY067"]),
        ("ehrql:v1 generate-datasets d.py", "out/d.csv", ["PY067"]),
        ("databuilder:v1 generate-dataset d.py", "out/d.csv", ["PY067"]),
        ("ehrql:v1 generate-measures d.py", "out/d.csv", []),
        ("'ehrql:v1 generate-dataset' d.py", "out/d.csv", ["PY061"]),
        ('"ehrql:v1" generate-dataset d.py', "out/d.csv", ["PS035"]),
        ('ehrql:v1 "generate-dataset" d.py --output x.csv', "out/d.csv", ["PS035"]),
        ("ehrql:v1\tgenerate-dataset d.py --output out/d.csv", "out/d.csv", []),
        ("r:v1 generate-dataset d.py", "out/d.csv", []),
    ],
)
def test_dataset_commands(run: str, pattern: str, found: list[str]) -> None:
    outputs = f"{{highly_sensitive: {{d: {pattern}}}}}"
    text = f"version: 5\nactions: {{a: {{run: {json.dumps(run)}, outputs: {outputs}}}}}\n"

    assert [problem.id for problem in load(text.encode()).problems] == found


def test_dataset_target_with_a_colon_fits_where_there_is_no_pattern() -> None:
    changes = [
        ("extract", "run: ehrql:v1 generate-dataset d.py --output out:csv"),
        ("extract", "outputs: {highly_sensitive: {}}"),
    ]

    assert ids(*changes) == ["PS044"]
    assert ids(("extract", "outputs: {highly_sensitive: {}}")) == ["PS044", "PY068"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a", ["PY046"]), ("a.", ["PY046"]), (".csv", ["PY046"]), ("out/*", ["PY046"]), ("a.c*", ["PY046"]),
        ("a.csv/.", ["PY048"]), ("a.csv/", ["PY048"]), ("a//b.csv", ["PY048"]), ("a/../b.csv", ["PY048"]),
        ("../../b.csv", ["PY048"]), ("..", ["PS040", "PY046"]), ("''", ["PY046", "PY048"]),
        ("/", ["PY046", "PY050"]),
        ("//a.csv", ["PY048", "PY050"]), ("/../a.csv", ["PS040", "PY050"]), ("C:/a.csv", ["PY050"]),
        ("metadata/../a.csv", ["PY048", "PY049"]), ("METADATA/a.csv", ["PS041"]), ("metadata.csv", []),
        ("metadatas/a.csv", []), ("a/metadata/b.csv", []), ("'**/a[1]?.csv'", ["PY045"]), ("~/a.csv", []),
        ("$HOME/a.csv", []), ("'*.csv'", []), ("a b/c d.csv", []), ("a.tar.gz", []),
        (r"'C:\a.csv'", ["PY044"]),
        ('"\\x7f.csv"', ["PS043"]), ("ü.csv", []),
    ],
)  # fmt: skip
def test_patterns(pattern: str, found: list[str]) -> None:
    assert ids(("model", f"outputs: {{highly_sensitive: {{t: {pattern}}}}}")) == found


@pytest.mark.parametrize(
    "extension", ["csv", "jpg", "jpeg", "png", "svg", "svgz", "html", "txt", "log", "json", "md"]
)
def test_reviewable_types(extension: str) -> None:
    assert ids(("model", f"outputs: {{moderately_sensitive: {{t: a.{extension}}}}}")) == []


@pytest.mark.parametrize("extension", ["CSV", "csv.gz", "pdf", "rds", "c*v"])
def test_types_that_cannot_be_reviewed(extension: str) -> None:
    assert ids(("model", f"outputs: {{moderately_sensitive: {{t: a.{extension}}}}}")) == ["PY047"]
    assert ids(("model", f"outputs: {{minimally_sensitive: {{t: a.{extension}}}}}")) == []


def test_the_same_pattern_at_two_levels_is_a_warning_only_before_version_2() -> None:
    outputs = ("model", "outputs: {highly_sensitive: {a: a.csv}, moderately_sensitive: {b: a.csv}}")

    assert ids(("top", "version: 1"), outputs) == ["PS042", "PY013"]
    assert ids(("top", "version: 2"), outputs) == ["PY013", "PY051"]


def test_circles() -> None:
    text = "version: 5\nactions:\n"
    for name, needs in {
        "z": "[b]",
        "a": "[z, x, c]",
        "b": "[c, a]",
        "c": "[a]",
        "x": "[y]",
        "y": "[x, z]",
    }.items():
        text += action_text(name, needs)

    # All six reach each other: one report, at the first action of the file and its first entry that leads
    # into the circle.
    assert short(load(text.encode())) == ["PS023 5:13 z"]


def test_of_a_long_circle_the_beginning_and_the_end_are_told() -> None:
    names = [f"a{number}" for number in range(12)]
    needs = dict(zip(names, [*names[1:], names[0]], strict=True))
    text = "version: 5\nactions:\n" + "".join(action_text(name, f"[{need}]") for name, need in needs.items())

    (problem,) = load(text.encode()).problems
    told = re.findall(r"`(a[0-9]+)` needs `(a[0-9]+)` \(line ([0-9]+)\)", problem.message)
    assert [(name, need) for name, need, _line in told] == [*list(needs.items())[:7], ("a11", "a0")]
    lines = text.split("\n")
    assert all(lines[int(line) - 1].endswith(f"needs: [{need}]") for _name, need, line in told)
    assert ", and 4 more, `a11` needs" in problem.message


def test_two_separate_circles_and_a_bystander() -> None:
    text = "version: 5\nactions:\n"
    for name, needs in {"o": "[a]", "a": "[a, b]", "b": "[a]", "c": "[a, d]", "d": "[c]"}.items():
        text += action_text(name, needs)

    assert short(load(text.encode())) == ["PS022 9:13 a", "PS023 9:16 a", "PS023 17:16 c"]


def test_what_comes_by_alias_is_reported_where_it_is_written_for_each_action() -> None:
    text = """\
version: 5
actions:
  a: {run: r:v2 a, needs: &n [nope], outputs: {highly_sensitive: &o {x: a}}, config: &c {v: .nan, 1: 2}}
  b: {run: r:v2 b, needs: *n, outputs: {minimally_sensitive: *o}, config: {<<: *c, w: *c}}
"""

    assert short(load(text.encode())) == [
        "PY037 3:31 a",
        "PY037 3:31 b",
        "PY046 3:73 a",
        "PY046 3:73 b",
        "PY051 3:73 b",
        "PS050 3:93 a",
        "PS050 3:93 b",
        "PS009 3:99 a",
    ]


def test_messages_show_no_control_characters_and_cut_long_values() -> None:
    loaded = load(build(("model", '"a\\n\\x07\\u202e": 1'), ("model", f"{'k' * 500}: 1")))

    for problem in loaded.problems:
        assert problem.message.isprintable()
        assert "k" * 80 not in problem.message
    assert {problem.id for problem in loaded.problems} == {"PY034"}


def test_config_is_one_line_of_json_in_file_order() -> None:
    loaded = load(build(("model", "config: {z: 1.5, a: [é, ~, true, 2020-01-01], m: {'1': \"\\n\"}}")))

    assert loaded.pipeline is not None
    action = loaded.pipeline.actions["model"]
    assert action.command()[-1] == r'{"z": 1.5, "a": ["\u00e9", null, true, "2020-01-01"], "m": {"1": "\n"}}'


@pytest.mark.parametrize(
    ("run", "database"),
    [
        ("ehrql:v1 generate-dataset d.py --output output/data.csv.gz", True),
        ("ehrql:v1 generate-measures d.py", True),
        ("ehrql:v1 generate_dataset d.py --output output/data.csv.gz", False),
        ("ehrql:v1 generate-measures2", False),
        ("ehrql:v1", False),
        ("sqlrunner:v1", True),
        ("sqlrunner:v1 anything", True),
        ("databuilder:v1 generate-dataset --output output/data.csv.gz", True),
        ("databuilder:v1 generate-measures", False),
        ("python:v2 generate-dataset", False),
        ("EHRQL:v1 generate-dataset", False),
    ],
)
def test_database_actions(run: str, database: bool) -> None:
    loaded = load(build(("extract", f"run: {run}")))

    assert loaded.pipeline is not None, loaded.problems
    assert loaded.pipeline.actions["extract"].is_database_action is database
