"""One wrong and one right form of each rule: project-yaml.md sections 4 and 5, as changes to the base file.

A row: id; the changes of the wrong form; all that must be reported for it, as `id line:column action`; the
changes of the right form; words that the message must hold.
"""

# A table reads best with one row a line.
# ruff: noqa: E501

from typing import NamedTuple

from tests.pipeline.examples import BASE, Change


class Row(NamedTuple):
    rule: str
    wrong: tuple[Change, ...]
    reported: str
    right: tuple[Change, ...]
    words: tuple[str, ...]


def _top(*lines: str) -> tuple[Change, ...]:
    return tuple(("top", line) for line in lines)


def _model(*lines: str) -> tuple[Change, ...]:
    return tuple(("model", line) for line in lines)


def _extract(*lines: str) -> tuple[Change, ...]:
    return tuple(("extract", line) for line in lines)


def _file(text: str) -> tuple[Change, ...]:
    return (("file", text),)


def _outputs(pattern: str, level: str = "highly_sensitive") -> tuple[Change, ...]:
    return _model(f"outputs: {{{level}: {{t: {pattern}}}}}")


def _bomb(anchors: int) -> tuple[Change, ...]:
    lists = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, anchors)]
    return _model(f"config: {{{', '.join(['a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]', *lists])}}}")


_BASE: tuple[Change, ...] = ()
_AND_EXPECTATIONS = _top("version: 3", "expectations: {population_size: 9}")
_RUN_ALL = "actions: {run_all: {run: 'r:v2 a.R', outputs: {highly_sensitive: {x: a.csv}}}}"
_ALL_TABLES = _RUN_ALL.replace("run_all", "all_tables")
_COHORT = "run: cohortextractor:v1 generate_cohort"
_V1 = ("top", "version: 1")

LOADING = [
    Row("PY001", _file("version: '5.0\n"), "PY001 2:1 -", _file("version: '5.0'\nactions: {}\n"), ("line 1", "Close it")),
    Row("PY002", _top("+# \udce9"), "PY002 10:3 -", _top("+# \xe9"), ("0xE9", "UTF-8")),
    Row("PY003", _model("run: r:v2 analysis/model.R", "+run: r:v2 a"), "PY003 10:5 model", _BASE, ("`run`", "`model`", "line 7")),
    Row("PY004", _model("<<: [1]"), "PY004 10:9 model", _model("<<: {config: {a: 1}}"), ("`<<`", "`model`", "mapping")),
    Row("PY005", _top("+---"), "PY005 10:1 -", _BASE, ("second YAML document",)),
    Row("PY010", _top("owner: me"), "PY010 10:1 -", _BASE, ("`owner`",)),
    Row("PY011", _top("version:"), "PY011 1:9 -", _BASE, ("version: '5.0'",)),
    Row("PY011", _top("-version"), "PY011 1:1 -", _BASE, ("version: '5.0'",)),
    Row("PY012", _top("version: five"), "PY012 1:10 -", _top("version: 5"), ("`five`",)),
    Row("PY013", _top("version: '4.0'"), "PY013 1:10 -", _BASE, ("4.0", "5.0")),
    Row("PY014", _top("actions: []"), "PY014 2:10 -", _BASE, ("a list",)),
    Row("PY014", _top("-actions"), "PY014 1:1 -", _BASE, ("no `actions`",)),
    Row("PY014", _top("actions:"), "PY014 2:9 -", _BASE, ("empty", "mapping")),
    Row("PY015", _top("expectations: {population_size: 9}"), "PY015 10:1 -", _BASE, ("version 4",)),
    Row("PY016", _top("version: 3"), "PY013 1:10 -, PY016 1:1 -", _AND_EXPECTATIONS, ("population_size: 1000",)),
    Row("PY016", _top("version: 3", "expectations:"), "PY013 1:10 -, PY016 10:1 -", _AND_EXPECTATIONS, ("empty", "population_size: 1000")),
    Row("PY017", _top("version: 3", "expectations: 9"), "PY013 1:10 -, PY017 10:15 -", _AND_EXPECTATIONS, ("`9`",)),
    Row("PY018", _top("version: 3", "expectations: {}"), "PY013 1:10 -, PY018 10:1 -", _AND_EXPECTATIONS, ("lacks `population_size`", "1000")),
    Row("PY019", _top("version: 3", "expectations: {population_size: 9, seed: 1}"), "PY013 1:10 -, PY019 10:36 -",
        _AND_EXPECTATIONS, ("`seed`",)),
    Row("PY020", _top("version: 3", "expectations: {population_size: many}"), "PY013 1:10 -, PY020 10:33 -",
        _AND_EXPECTATIONS, ("`many`", "1000")),
]  # fmt: skip

ACTIONS = [
    Row("PY030", _top(_RUN_ALL), "PY030 2:11 run_all", _top(_ALL_TABLES), ("built in",)),
    Row("PY031", _top("version: 4", _RUN_ALL), "PY013 1:10 -, PY031 2:11 run_all", _top(_ALL_TABLES), ("built in",)),
    Row("PY032", _top("actions: {model: r}"), "PY032 2:18 model", _BASE, ("`model`", "`r`")),
    Row("PY033", _top("actions: {model: {run: 'r:v2 a.R'}}"), "PY033 2:11 model", _BASE, ("no `outputs`",)),
    Row("PY033", _top("actions: {model: {}}"), "PY033 2:11 model, PY033 2:11 model", _BASE, ("no `outputs`",)),
    Row("PY034", _model("memory: 4G"), "PY034 10:5 model", _BASE, ("`memory`", "`dummy_data_file`")),
    Row("PY035", _model("needs: extract"), "PY035 8:12 model", _BASE, ("`needs`", "`extract`", "[extract]")),
    Row("PY035", _model("dummy_data_file: [1]"), "PY035 10:22 model", _model("dummy_data_file:"), ("`dummy_data_file`", "a list")),
    Row("PY035", _model("config: [1]"), "PY035 10:13 model", _model("config:"), ("`config`", "a list")),
    Row("PY035", _model("run:"), "PY035 7:9 model", _BASE, ("`run`", "empty", "image:version")),
    Row("PY035", _model("outputs: ~"), "PY035 9:14 model", _BASE, ("`outputs`", "empty")),
    Row("PY036", _model("needs: [extract extract2]"), "PY036 8:13 model", _BASE, ("`extract extract2`", "comma")),
    Row("PY037", _model("needs: [extrat]"), "PY037 8:13 model", _BASE, ("`extrat`", "Did you mean `extract`?")),
    Row("PY038", _extract("run: r:v2 analysis/model.R"), "PY038 7:10 model", _BASE, ("`extract`", "line 4")),
]  # fmt: skip

OUTPUTS = [
    Row("PY040", _model("outputs: {}"), "PY040 9:5 model", _BASE, ("three levels",)),
    Row("PY041", _model("outputs: {highly_sensitive: {t: a.csv}, secret: {u: b.csv}}"), "PY041 9:45 model",
        _model("outputs: {highly_sensitive: {t: a.csv, u: b.csv}}"), ("`secret`",)),
    Row("PY042", _model("outputs: {highly_sensitive: a.csv}"), "PY042 9:33 model", _outputs("a.csv"), ("`a.csv`",)),
    Row("PY043", _outputs("7"), "PY043 9:37 model", _outputs("7.csv"), ("the number `7`",)),
    Row("PY044", _outputs(r"out\a.csv"), "PY044 9:37 model", _outputs("out/a.csv"), (r"`out\a.csv`",)),
    Row("PY045", _outputs("'out/a?.csv'"), "PY045 9:37 model", _outputs("'out/a*.csv'"), ("`?`", "write `out/a*.csv`")),
    Row("PY046", _outputs("'out/*'"), "PY046 9:37 model", _outputs("'out/*.csv'"), ("`out/*`",)),
    Row("PY047", _outputs("out/m.rds", "moderately_sensitive"), "PY047 9:41 model", _outputs("out/m.rds"), ("`.rds`",)),
    Row("PY048", _outputs("./a.csv"), "PY048 9:37 model", _outputs("a.csv"), ("`./a.csv`",)),
    Row("PY049", _outputs("metadata/a.csv"), "PY049 9:37 model", _outputs("output/a.csv"), ("logs",)),
    Row("PY050", _outputs("/a.csv"), "PY050 9:37 model", _outputs("a.csv"), ("absolute",)),
    Row("PY051", _outputs("output/data.csv.gz"), "PY051 9:37 model", _BASE, ("`extract`", "line 5")),
]  # fmt: skip

COMMANDS = [
    Row("PY060", _model("run: ''"), "PY060 7:10 model", _BASE, ("empty",)),
    Row("PY061", _model("run: r analysis/model.R"), "PY061 7:10 model", _BASE, ("`r`", "`r:v2`")),
    Row("PY062", _model("run: r:latest analysis/model.R"), "PY062 7:10 model", _BASE, ("`r:latest`",)),
    Row("PY063", _model("run: cohortextractor:v1 generate_cohort"), "PY063 7:10 model",
        _model("run: ehrql:v1 generate-measures x.py --output output/table.csv"), ("ehrQL",)),
    Row("PY064", (_V1, *_model(_COHORT, "outputs: {highly_sensitive: {a: a.csv}, moderately_sensitive: {b: b.csv}}")),
        "PY013 1:10 -, PY064 9:5 model", (_V1, *_model(_COHORT)), ("2 levels",)),
    Row("PY065", (_V1, *_model(_COHORT, "outputs: {highly_sensitive: {a: a/x.csv, b: b/y.csv}}")),
        "PY013 1:10 -, PY065 9:5 model", (_V1, *_model(_COHORT, "outputs: {highly_sensitive: {a: a/x.csv, b: a/y.csv}}")),
        ("2 folders: `a`, `b`", "--output-dir")),
    Row("PY066", _extract("outputs: {moderately_sensitive: {data: output/data.csv}}"), "PY066 5:5 extract", _BASE, ("`extract`", "patient-level", "`highly_sensitive`")),
    Row("PY067", _extract("run: ehrql:v1 generate-dataset analysis/dataset.py"), "PY067 4:10 extract", _BASE, ("--output",)),
    Row("PY068", _extract("outputs: {highly_sensitive: {data: output/other.csv.gz}}"), "PY068 5:5 extract", _BASE,
        ("`output/data.csv.gz`", "`output/other.csv.gz`")),
]  # fmt: skip

STRICT_LOADING = [
    Row("PS001", _file("#" * 5_000_001), "PS001 1:1 -", _top("+#" + "x" * (5_000_000 - len(BASE) - 2)), ("5,000,001", "5,000,000")),
    Row("PS002", _model(f"config: {{a: {'[' * 70}{']' * 70}}}"), "PS002 10:77 model",
        _model(f"config: {{a: {'[' * 50}{']' * 50}}}"), ("64", "`config` of action `model`")),
    Row("PS003", _bomb(7), "PS003 10:338 model", _bomb(3), ("1,000,000", "`model`")),
    Row("PS004", _model("config: &c {a: *c}"), "PS004 10:20 model", _model("config: {a: 1}"), ("`*c`", "`config`")),
    Row("PS005", _file("\ufeffversion".encode("utf-16-le").decode("utf-8", "surrogateescape")), "PS005 1:1 -", _BASE, ("UTF-16",)),
    Row("PS006", _model("config: {a: !x 1}"), "PS006 10:17 model", _model("config: {a: 1}"), ("`!x`", "`model`")),
    Row("PS006", _file("%YAML 1.1\n---\nversion: 5\nactions: {}\n"), "PS006 1:1 -, PS025 4:10 -",
        _file("%YAML 1.2\n---\nversion: 5\nactions: {}\n"), ("%YAML 1.1",)),
    Row("PS007", _file("# soon"), "PS007 1:1 -", _BASE, ("empty",)),
    Row("PS008", _file("[1]"), "PS008 1:1 -", _BASE, ("a list",)),
    Row("PS009", _model("outputs: {highly_sensitive: {1: a.csv}}"), "PS009 9:34 model",
        _model("outputs: {highly_sensitive: {'1': a.csv}}"), ("`1`", "quotes")),
    Row("PS010", _top("version: 6"), "PS010 1:10 -", _top("version: 5"), ("6.0", "5.0")),
    Row("PS011", _top("version: 0"), "PS011 1:10 -", _AND_EXPECTATIONS, ("`0`",)),
    Row("PS012", _top("version: 3", "expectations: {population_size: -5}"), "PY013 1:10 -, PS012 10:33 -",
        _AND_EXPECTATIONS, ("`-5`",)),
]  # fmt: skip

STRICT_ACTIONS = [
    Row("PS020", _top(_RUN_ALL.replace("run_all", "my model")), "PS020 2:11 my model", _top(_ALL_TABLES),
        ("space", "`my_model`")),
    Row("PS021", _model("needs: [[extract]]"), "PS021 8:13 model", _BASE, ("a list",)),
    Row("PS022", _model("needs: [model]"), "PS022 8:13 model", _BASE, ("itself",)),
    Row("PS023", _extract("needs: [model]"), "PS023 6:13 extract", _BASE, ("`extract` needs `model` (line 6), `model` needs `extract` (line 9)",)),
    Row("PS024", _model("needs: [extract, extract]"), "PS024 8:22 model", _BASE, ("twice",)),
    Row("PS025", _top("actions: {}"), "PS025 2:10 -", _BASE, ("no actions", "Add one")),
    Row("PS030", _model("run: \"r:v2 a.R 'x\""), "PS030 7:10 model", _model("run: \"r:v2 a.R 'x'\""), ("`'`",)),
    Row("PS030", _model("run: r:v2 a\\"), "PS030 7:10 model", _model("run: r:v2 a\\\\"), ("backslash",)),
    Row("PS031", _model("run: ' '"), "PS031 7:10 model", _BASE, ("blank",)),
    Row("PS032", _model("run: ':v2 a.R'"), "PS032 7:10 model", _model("run: 'r:v2 a.R'"), ("`:v2`", "`r:v2`")),
    Row("PS033", _model("run: foo/bar:v2 a"), "PS033 7:10 model", _model("run: bar:v2 a"), ("slash", "registry")),
    Row("PS033", _model("run: r:v\u0663 a"), "PS033 7:10 model", _model("run: r:v3 a"), ("digit",)),
    Row("PS034", _model('run: "r:v2 a\\0"'), "PS034 7:10 model", _model("run: r:v2 a"), ("U+0000",)),
    Row("PS035", _extract("run: ehrql:v1  generate-dataset d.py"), "PS035 4:10 extract", _BASE, ("--output",)),
    Row("PS036", _model("run: r:v2" + " a" * 299), "PS036 7:10 model", _model("run: r:v2" + " a" * 255), ("300", "256")),
    Row("PS036", _model("run: r:v2 " + "a" * 8_193), "PS036 7:10 model", _model("run: r:v2 " + "a" * 8_192), ("8,192",)),
    Row("PS040", _outputs("../a.csv"), "PS040 9:37 model", _outputs("a.csv"), ("outside",)),
    Row("PS041", _outputs("Metadata/a.csv"), "PS041 9:37 model", _outputs("output/a.csv"), ("`metadata`",)),
    Row("PS042", _model("outputs: {highly_sensitive: {all: out/*.csv}, moderately_sensitive: {t: out/a.csv}}"),
        "PS042 9:77 model",
        _model("outputs: {highly_sensitive: {all: raw/*.csv}, moderately_sensitive: {t: out/a.csv}}"),
        ("`out/a.csv`", "`out/*.csv`", "line 9", "`highly_sensitive`")),
    Row("PS043", _outputs('"a\\n.csv"'), "PS043 9:37 model", _outputs("a.csv"), ("line end",)),
    Row("PS043", _outputs("a" * 997 + ".csv"), "PS043 9:37 model", _outputs("a" * 996 + ".csv"), ("1,000",)),
    Row("PS044", _model("outputs: {highly_sensitive: {}}"), "PS044 9:5 model", _BASE, ("`model`", "no file", "Add a path")),
    Row("PS050", _model("config: {a: .nan}"), "PS050 10:17 model", _model("config: {a: null}"), ("`.nan`", "JSON")),
]  # fmt: skip
#: What is only just wrong beside what is only just right, where the rows above lie further apart.
NEAR_MISSES = [
    Row("PY013", _top("version: 4.99"), "PY013 1:10 -", _top("version: 5.00"), ("4.99",)),
    Row("PY036", _model("needs: ['extract ']"), "PY036 8:13 model", _model("needs: ['extract']"), ("`extract `", "space")),
    Row("PY037", _model("needs: [Extract]"), "PY037 8:13 model", _model("needs: ['extract']"), ("`Extract`", "Did you mean `extract`?")),
    Row("PY045", _outputs("out/**.csv"), "PY045 9:37 model", _outputs("out/*a*.csv"), ("`**`", "write `out/*.csv`")),
    Row("PY045", _outputs("'out/[a].csv'"), "PY045 9:37 model", _outputs("'out/]a.csv'"), ("`[a]`", "write `out/*.csv`")),
    Row("PY046", _outputs("out/.csv"), "PY046 9:37 model", _outputs("out/*.csv"), ("`out/.csv`", "file type")),
    Row("PY046", _outputs("a.c*"), "PY046 9:37 model", _outputs("a.*c"), ("`a.c*`",)),
    Row("PY047", _outputs("a.CSV", "moderately_sensitive"), "PY047 9:41 model", _outputs("a.csv", "moderately_sensitive"), ("`.CSV`",)),
    Row("PY048", _outputs("a/b.csv/"), "PY048 9:37 model", _outputs("a/b.csv"), ("`a/b.csv/`", "plain form")),
    Row("PY048", _outputs("a/../b.csv"), "PY048 9:37 model", _outputs("a/..b.csv"), ("`a/../b.csv`",)),
    Row("PY049", _outputs("metadata/b/a.csv"), "PY049 9:37 model", _outputs("a/metadata/b.csv"), ("`metadata`",)),
    Row("PY050", _outputs("c:/a.csv"), "PY050 9:37 model", _outputs("c:a.csv"), ("absolute",)),
    Row("PY061", _model("run: r:v2x a"), "PY061 7:10 model", _model("run: r:v2.0-pre a"), ("`r:v2x`", "`r:v2`")),
    Row("PY063", _model("run: cohortextractor-v2:v1 a"), "PY063 7:10 model", _model("run: xcohortextractor:v1 a"), ("retired",)),
    Row("PY067", _extract("run: ehrql:v1 generate-dataset d.py --output="), "PY067 4:10 extract",
        _extract("run: ehrql:v1 generate-dataset d.py --output=output/data.csv.gz"), ("--output",)),
    Row("PY068", _extract("run: ehrql:v1 generate-dataset d.py --output ./output/data.csv.gz"), "PY068 5:5 extract",
        _extract("run: ehrql:v1 generate-dataset d.py --output output/data.csv.gz"), ("`./output/data.csv.gz`",)),
    Row("PS010", _top("version: 5.0000001"), "PS010 1:10 -", _top("version: 5.0"), ("newer",)),
    Row("PS011", _top("version: '+5'"), "PS011 1:10 -", _top("version: ' 5 '"), ("`+5`", "1 to 5")),
    Row("PS012", _top("version: 3", "expectations: {population_size: 0.9}"), "PY013 1:10 -, PS012 10:33 -",
        _top("version: 3", "expectations: {population_size: 1.9}"), ("`0.9`",)),
    Row("PS020", _top(_RUN_ALL.replace("run_all", "a" * 129)), f"PS020 2:11 {'a' * 129}", _top(_RUN_ALL.replace("run_all", "a" * 128)), ("128",)),
    Row("PS020", _top(_RUN_ALL.replace("run_all", "a..b")), "PS020 2:11 a..b", _top(_RUN_ALL.replace("run_all", "a.b.c")), ("`..`",)),
    Row("PS020", _top(_RUN_ALL.replace("run_all", "_a")), "PS020 2:11 _a", _top(_RUN_ALL.replace("run_all", "1_a")), ("begin",)),
    Row("PS033", _model(f"run: {'r' * 101}:v2 a"), "PS033 7:10 model", _model(f"run: {'r' * 100}:v2 a"), ("100",)),
    Row("PS033", _model("run: -r:v2 a"), "PS033 7:10 model", _model("run: r-:v2 a"), ("begin",)),
    Row("PS034", _model('run: "r:v2 a\\x7f"'), "PS034 7:10 model", _model('run: "r:v2\\ta\\r\\n"'), ("U+007F",)),
    Row("PS041", _outputs("METADATA/a.csv"), "PS041 9:37 model", _outputs("METADATA.csv"), ("`metadata`",)),
    Row("PS043", _outputs("é" * 499 + ".csv"), "PS043 9:37 model", _outputs("é" * 498 + ".csv"), ("1,000",)),
    Row("PS050", _model("config: {a: [{b: -.inf}]}"), "PS050 10:22 model", _model("config: {a: [{b: '-.inf'}]}"), ("`-.inf`",)),
]  # fmt: skip

ROWS = [*LOADING, *ACTIONS, *OUTPUTS, *COMMANDS, *STRICT_LOADING, *STRICT_ACTIONS, *NEAR_MISSES]
