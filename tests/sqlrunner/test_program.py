"""sqlrunner as a module: what it writes, what it refuses, and that it never says more than it may."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sqlrunner.conftest import CSV

pytestmark = pytest.mark.unit

KINDS = ("sqlite", "duckdb")


class Runner:
    """Runs the program in a folder; each call gives its status, and what it said is in `out` and `err`."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.delenv("DATABASE_URL", raising=False)

    def database(self, url: str) -> None:
        self._monkeypatch.setenv("DATABASE_URL", url)

    def __call__(self, *words: str, sql: str = "SELECT * FROM people ORDER BY id") -> int:
        from sqlrunner.__main__ import main

        (self.folder / "q.sql").write_text(sql)
        status = main(words)
        self.out, self.err = self._capsys.readouterr()
        return status

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def refused(self) -> bool:
        """Whether it said one or two lines of plain text and left nothing behind."""
        assert self.out == ""
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        assert [path.name for path in self.folder.glob("**/*out*")] == []
        return True


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    folder = tmp_path / "study"
    folder.mkdir()
    return Runner(folder, monkeypatch, capsys)


MakeDatabase = Callable[[str], str]


@pytest.fixture(params=KINDS)
def run_on(request: pytest.FixtureRequest, run: Runner, make_database: MakeDatabase) -> Runner:
    """The program with a database of either kind."""
    run.database(make_database(request.param))
    return run


def test_rows_become_csv(run_on: Runner) -> None:
    assert run_on("--output", "output/out.csv", "q.sql") == 0, run_on.err
    assert run_on.read("output/out.csv") == CSV
    assert (run_on.out, run_on.err) == ("Wrote output/out.csv (columns: 4).\n", "")
    assert [path.name for path in (run_on.folder / "output").iterdir()] == ["out.csv"]


def test_options_stand_in_any_order(run_on: Runner) -> None:
    assert run_on("q.sql", "--dummy-data-file", "not-there.csv", "--output=out.csv") == 0, run_on.err
    assert run_on.read("out.csv") == CSV


def test_compressed_csv_is_the_same_every_time(run_on: Runner) -> None:
    for name in ("one.csv.gz", "two.csv.gz"):
        assert run_on("--output", name, "q.sql") == 0, run_on.err
    one, two = ((run_on.folder / name).read_bytes() for name in ("one.csv.gz", "two.csv.gz"))
    assert one == two
    assert gzip.decompress(one).decode() == CSV
    # No flags, so no name; then four bytes of time.
    assert one[3:8] == bytes(5)


def test_comments_and_one_semicolon_are_part_of_a_query(run_on: Runner) -> None:
    before = "-- who; what\n/* first; second */ with p as (select id from people)\n"
    sql = f"{before} select count(*) as n from p; -- end\n"  # noqa: S608
    assert run_on("--output", "out.csv", "q.sql", sql=sql) == 0, run_on.err
    assert run_on.read("out.csv") == "n\n4\n"


def test_a_query_without_rows_gives_a_header(run_on: Runner) -> None:
    assert run_on("--output", "out.csv", "q.sql", sql="SELECT id, name FROM people WHERE id > 9") == 0, (
        run_on.err
    )
    assert run_on.read("out.csv") == "id,name\n"


def test_more_rows_than_one_batch(run_on: Runner) -> None:
    numbers = "SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12001"
    sql = f"WITH RECURSIVE n(i) AS ({numbers}) SELECT i FROM n ORDER BY i"  # noqa: S608
    assert run_on("--output", "out.csv", "q.sql", sql=sql) == 0, run_on.err
    assert run_on.read("out.csv").split() == ["i", *map(str, range(1, 12002))]


def test_nothing_of_the_data_is_said(run_on: Runner) -> None:
    """O11: neither rows nor how many there are, in the log and in the log file."""
    said = []
    for count in (1, 3):
        sql = f"SELECT id AS secret FROM people LIMIT {count}"  # noqa: S608
        assert run_on("--output", "out.csv", "--log-file", "log.json", "q.sql", sql=sql) == 0, run_on.err
        said.append((run_on.out, run_on.err, run_on.read("log.json")))
    assert said[0] == said[1]
    assert json.loads(said[0][2]) == {
        "sql_file": "q.sql",
        "output": "out.csv",
        "message": "Wrote out.csv (columns: 1).",
    }


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT 1; SELECT 2", "has several statements"),
        ("SELECT 1; DROP TABLE people", "has several statements"),
        ("DELETE FROM people", "begins with SELECT or WITH"),
        ("ATTACH '/tmp/other' AS other", "begins with SELECT or WITH"),
        ("PRAGMA database_list", "begins with SELECT or WITH"),
        ("COPY people TO 'out.csv'", "begins with SELECT or WITH"),
        ("/* SELECT */", "begins with SELECT or WITH"),
        ("-- SELECT", "begins with SELECT or WITH"),
        ("", "begins with SELECT or WITH"),
        ("SELECTED", "begins with SELECT or WITH"),
        ("SELECT 1\0", "NUL"),
        ("SELECT * FROM nobody", "does not accept q.sql: "),
        ("SELECT FROM WHERE", "does not accept q.sql: "),
        ("SELECT missing FROM people", "does not accept q.sql: "),
        ("SELECT * FROM read_csv('/etc/passwd')", "does not accept q.sql: "),
        ("SELECT * FROM read_text('/etc/passwd')", "does not accept q.sql: "),
        ("SELECT * FROM '/etc/passwd'", "does not accept q.sql: "),
        ("SELECT readfile('/etc/passwd')", "does not accept q.sql: "),
        ("SELECT * FROM words", "does not accept q.sql: "),
        ("SELECT id, id FROM people", "2 columns are called id"),
        ("SELECT 1 INTO OUTFILE 'out.csv'", "does not accept q.sql: "),
    ],
)  # fmt: skip
def test_what_is_not_one_query_that_reads_is_refused(run_on: Runner, sql: str, why: str) -> None:
    assert run_on("--output", "out.csv", "q.sql", sql=sql) == 1
    assert why in run_on.err
    assert run_on.refused()


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("sqlite", "SELECT abs(-9223372036854775807 - id) FROM people ORDER BY id DESC"),
        ("duckdb", "SELECT CAST(name AS INTEGER) AS number FROM people"),
    ],
)
def test_an_error_in_the_middle_quotes_no_value(
    run: Runner, make_database: MakeDatabase, kind: str, sql: str
) -> None:
    run.database(make_database(kind))
    assert run("--output", "out.csv", "q.sql", sql=sql) == 1
    assert "stopped q.sql while it ran" in run.err
    assert "Ada" not in run.err
    assert run.refused()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_table_info('people')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT load_extension('/tmp/x.so')",
    ],
)
def test_what_sqlite_can_do_beside_reading_is_refused(
    run: Runner, make_database: MakeDatabase, sql: str
) -> None:
    run.database(make_database("sqlite"))
    assert run("--output", "out.csv", "q.sql", sql=sql) == 1
    assert run.refused()


@pytest.mark.parametrize(
    ("kind", "why"), [("sqlite", "not authorized"), ("duckdb", "must hold a query that only reads")]
)
@pytest.mark.parametrize("change", ["DELETE FROM people", "INSERT INTO people SELECT 9, '', 1, 1"])
def test_a_change_that_begins_as_a_query_is_refused(
    run: Runner, make_database: MakeDatabase, kind: str, why: str, change: str
) -> None:
    run.database(make_database(kind))
    assert run("--output", "out.csv", "q.sql", sql=f"WITH x AS (SELECT 1) {change}") == 1
    assert why in run.err
    assert run.refused()


@pytest.mark.parametrize(
    "setting",
    ["enable_external_access", "autoload_known_extensions", "autoinstall_known_extensions",
     "allow_community_extensions", "allow_persistent_secrets", "python_enable_replacements"],
)  # fmt: skip
def test_duckdb_is_locked(run: Runner, make_database: MakeDatabase, setting: str) -> None:
    run.database(make_database("duckdb"))
    sql = f"SELECT current_setting('{setting}') AS s, current_setting('lock_configuration') AS locked"
    assert run("--output", "out.csv", "q.sql", sql=sql) == 0, run.err
    assert run.read("out.csv") == "s,locked\nfalse,true\n"


def test_duckdb_starts_the_threads_that_the_job_may_use(
    run: Runner, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.database(make_database("duckdb"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run("--output", "out.csv", "q.sql", sql="SELECT current_setting('threads') AS n") == 0, run.err
    assert run.read("out.csv") == "n\n3\n"


def test_the_kinds_of_values_that_a_csv_holds(run: Runner, make_database: MakeDatabase) -> None:
    run.database(make_database("duckdb"))
    sql = """SELECT true AS b, false AS f, DATE '2020-01-31' AS d, TIMESTAMP '2020-01-31 10:00:00' AS t,
             1.50::DECIMAL(6, 2) AS e, 170141183460469231731687303715884105727::HUGEINT AS h, NULL AS n"""
    assert run("--output", "out.csv", "q.sql", sql=sql) == 0, run.err
    expected = "true,false,2020-01-31,2020-01-31 10:00:00,1.50,170141183460469231731687303715884105727,"
    assert run.read("out.csv") == f"b,f,d,t,e,h,n\n{expected}\n"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("sqlite", "x'00ff'"), ("duckdb", "'a'::BLOB"), ("duckdb", "[1, 2]"), ("duckdb", "{'a': 1}")],
)
def test_values_that_a_csv_does_not_hold_are_refused(
    run: Runner, make_database: MakeDatabase, kind: str, value: str
) -> None:
    run.database(make_database(kind))
    assert run("--output", "out.csv", "q.sql", sql=f"SELECT 1 AS id, {value} AS odd") == 1
    assert "Column odd" in run.err
    assert run.refused()


def test_sqlite_values_of_several_types_are_shown_as_they_are(
    run: Runner, make_database: MakeDatabase
) -> None:
    run.database(make_database("sqlite"))
    sql = "SELECT CASE id WHEN 1 THEN 1 WHEN 2 THEN 2.5 WHEN 3 THEN 'three' END AS mixed FROM people"
    assert run("--output", "out.csv", "q.sql", sql=sql) == 0, run.err
    assert run.read("out.csv") == 'mixed\n1\n2.5\nthree\n""\n'


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("q.sql",), "rows are never printed. Add --output FILE"),
        (("--output", "out.csv"), "SQL_FILE"),
        (("--output", "out.csv", "q.sql", "more.sql"), "unrecognized arguments: more.sql"),
        (("--out", "out.csv", "q.sql"), "--out"),
        (("--output", "out.xlsx", "q.sql"), "must end in .csv, .csv.gz or .arrow"),
        (("--output", ".csv", "q.sql"), "must end in"),
        (("--output", "out.csv", "none.sql"), "There is no SQL file none.sql"),
        (("--output", "out.csv", "."), "cannot be read"),
        (("--output", "out.csv", "q.sql"), "DATABASE_URL is not set"),
        (("--output", "q.sql/out.csv", "q.sql"), "could not be read or written"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_carried_out(
    run: Runner, make_database: MakeDatabase, words: tuple[str, ...], why: str
) -> None:
    if "is not set" not in why:
        run.database(make_database("sqlite"))
    assert run(*words) == 1
    assert why in run.err
    assert run.refused()


@pytest.mark.parametrize(
    "url",
    ["", "postgresql://user:pass-word@db/x", "sqlite:///relative", "sqlite://", "duckdb:///:memory:",
     "sqlite:////nowhere/at/all", "SQLITE:////x"],
)  # fmt: skip
def test_an_address_that_is_no_file_is_refused_and_not_repeated(run: Runner, url: str) -> None:
    run.database(url)
    (run.folder / "made.csv").write_text("id\n1\n")
    assert run("--output", "out.csv", "--dummy-data-file", "made.csv", "q.sql") == 1
    assert "DATABASE_URL" in run.err
    assert "pass-word" not in run.err
    assert run.refused()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused(run: Runner, tmp_path: Path, kind: str) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at " * 100)
    run.database(f"{kind}:///{tmp_path / 'text'}")
    assert run("--output", "out.csv", "q.sql") == 1
    assert run.refused()


def test_the_database_is_never_changed(run: Runner, make_database: MakeDatabase, tmp_path: Path) -> None:
    for kind in KINDS:
        run.database(make_database(kind))
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir() if path.is_file()
    }
    assert len(before) == 2
    for kind in KINDS:
        run.database(f"{kind}:///{tmp_path / f'data centre {kind}'}")
        assert run("--output", "out.csv", "q.sql") == 0, run.err
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir() if path.is_file()
    }


def test_an_earlier_output_stays_when_a_run_fails(run_on: Runner) -> None:
    assert run_on("--output", "kept.csv", "q.sql") == 0, run_on.err
    assert run_on("--output", "kept.csv", "q.sql", sql="SELECT nobody") == 1
    assert run_on.read("kept.csv") == CSV


@pytest.mark.parametrize("given", ["made.csv", "made.csv.gz"])
@pytest.mark.parametrize("output", ["out.csv", "out.csv.gz"])
def test_dummy_data_take_the_place_of_rows(run: Runner, given: str, output: str) -> None:
    content = CSV.encode()
    (run.folder / given).write_bytes(gzip.compress(content) if given.endswith(".gz") else content)
    assert run("--dummy-data-file", given, "--output", output, "q.sql") == 0, run.err
    assert run.out == f"There is no database here: wrote the dummy data to {output}.\n"
    written = (run.folder / output).read_bytes()
    assert (gzip.decompress(written) if output.endswith(".gz") else written) == content
    if Path(given).suffixes == Path(output).suffixes:
        assert written == (run.folder / given).read_bytes()


@pytest.mark.parametrize(
    ("given", "content", "why"),
    [
        ("not-there.csv", None, "There is no dummy data file not-there.csv"),
        ("made.txt", b"id\n", "made.txt must end in"),
        ("made.csv.gz", b"id\n1\n", "not what its suffix says"),
        ("made.csv.gz", gzip.compress(b"id\n" * 9999, mtime=0)[:-9], "not what its suffix says"),
    ],
    ids=["missing", "other_suffix", "not_gzip", "cut_off"],
)
def test_dummy_data_that_cannot_be_used(run: Runner, given: str, content: Any, why: str) -> None:
    if content is not None:
        (run.folder / given).write_bytes(content)
    assert run("--dummy-data-file", given, "--output", "out.csv", "q.sql") == 1
    assert why in run.err
    assert run.refused()


def test_the_query_is_looked_at_where_there_is_only_dummy_data(run: Runner) -> None:
    (run.folder / "made.csv").write_text("id\n1\n")
    assert run("--dummy-data-file", "made.csv", "--output", "out.csv", "q.sql", sql="DROP TABLE people") == 1
    assert run.refused()
