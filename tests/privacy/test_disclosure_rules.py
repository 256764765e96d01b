"""The planted violations and near-misses of disclosure-rules.md section 10, for the rules at collection."""

import base64
import gzip
import hashlib
import io
import json
import pickle
import random
import tarfile
import zipfile
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner.privacy.disclosure import engine, rulebook, sniff
from jobrunner.privacy.disclosure.findings import BLOCK, NEEDS_JUSTIFICATION, FileReport, Finding
from jobrunner.privacy.disclosure.headers import names_one_of, words
from jobrunner.privacy.disclosure.rules import RULES
from jobrunner.privacy.disclosure.tables import delimited, in_text
from jobrunner.privacy.disclosure.values import is_health_number

pytestmark = pytest.mark.unit
BOOK = rulebook.load(rulebook.default_rulebook())
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
AGGREGATE = "band,n,pct\n" + "".join(f"b{number},{number * 5 + 10},{number}.5\n" for number in range(30))


def check(path: str, content: str | bytes) -> FileReport:
    data = content.encode() if isinstance(content, str) else content
    limited = data[: BOOK.limits.bytes + 1]
    return engine.check_bytes(path, limited, len(data), hashlib.sha256(data).hexdigest(), BOOK)


def blocked(report: FileReport) -> set[str]:
    return {finding.rule for finding in report.findings if finding.severity == BLOCK}


def health_numbers(count: int, seed: int = 1) -> list[str]:
    choose = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        text = f"{choose.randrange(10**9, 10**10)}"
        if is_health_number(text):
            found.append(text)
    return found


def rows(header: str, lines: list[str]) -> str:
    return "\n".join([header, *lines]) + "\n"


def people(count: int) -> str:
    choose = random.Random(2)
    lines = []
    for _number in range(count):
        day = f"2021-0{choose.randrange(1, 10)}-1{choose.randrange(10)}"
        lines.append(f"{choose.randrange(90)},{choose.choice('MF')},{day}")
    return rows("age,sex,admission_date", lines)


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.csv", "patient_id\n1\n")
    return target.getvalue()


FLAGS = rows("asthma,copd,diabetes", [f"{n & 1},{n >> 1 & 1},{n >> 2 & 1}" for n in range(500)])
WEEKS = rows("week,count", [f"2020-01-01 w{n},{100 + n}" for n in range(300)])
TERMS = rows("term,estimate,lower,upper", [f"x{n},{n}.5,{n}.1,{n}.9" for n in range(40)])
NUMBERS = rows("code,n", [f"{value},50" for value in health_numbers(5)])
NOTEBOOK = json.dumps({"nbformat": 4, "cells": []})
FOREST = json.dumps([{"split": n, "left": n, "right": n} for n in range(300)])
WEIGHTS = json.dumps({"layer": [[n / 7 for n in range(50)] for _ in range(30)]})
PRINTED_TREE = "\n".join(f"|   |--- feature_{n} <= {n}.5" for n in range(300))
MANY_COLUMNS = ",".join(f"c{n}" for n in range(100_000))


@pytest.mark.parametrize(
    ("rule", "path", "content"),
    [
        ("SDC020", "t.csv", people(200)),
        ("SDC020", "t.csv", FLAGS),
        ("SDC020", "t.tsv", people(200).replace(",", "\t")),
        ("SDC020", "t.csv", people(200).replace(",", ";")),
        ("SDC020", "t.csv", '"stray\n' + people(200)),
        ("SDC021", "t.csv", "Patient Id,n\n1,2\n"),
        ("SDC021", "t.csv", "pseudo_id,n\n1,2\n".replace("e", "\u0435").replace("o", "\u043e")),
        ("SDC021", "t.csv", "\ufeffPATIENT-ID\n1\n"),
        ("SDC021", "t.csv", "patient\u200b_id\n1\n"),
        ("SDC021", "t.csv", "patientid2\n1\n"),
        ("SDC021", "t.csv", "A title\npatient_id,age\n1,2\n"),
        ("SDC021", "t.csv", "patient_id;age\n1,5;2,5\n2,5;3\n"),
        ("SDC021", "t.csv", rows("row_identifier,n", [f"r{n},10" for n in range(30)])),
        ("SDC021", "t.json", '{"rows": [{"Patient Id": 1}, {"Patient Id": 2}]}'),
        ("SDC021", "t.json", '{"a": {"b": {"nhsNumber": 1}}}'),
        ("SDC021", "t.txt", '{"patient_id": [1, 2]}'),
        ("SDC021", "run.log", '{"patient_id": 1}\n{"patient_id": 2}\n{"patient_id": 3}\n'),
        ("SDC021", "run.log", "patient_id  age  sex\n1  50  F\n2  60  M\n"),
        ("SDC021", "t.md", "| patient_id | age |\n|---|---|\n| 1 | 50 |\n| 2 | 60 |\n"),
        ("SDC022", "t.csv", NUMBERS),
        ("SDC022", "t.csv", rows("nhs,n", [f"{health_numbers(1)[0]},1", "x,2"])),
        ("SDC022", "t.csv", rows("c,n", [f"{v[:3]} {v[3:6]} {v[6:]},5" for v in health_numbers(4)])),
        ("SDC022", "t.csv", rows("who", [f"user{n}@example.org" for n in range(5)])),
        ("SDC022", "t.csv", rows("area", ["SW1A 1AA", "M1 1AE", "B33 8TH"])),
        ("SDC022", "t.csv", rows("serial", [f"{87654321 + n * 7}" for n in range(40)])),
        ("SDC022", "run.log", "\n".join(f"done {value}" for value in health_numbers(5))),
        ("SDC030", "t.csv", zipped()),
        ("SDC030", "t.xlsx", zipped()),
        ("SDC030", "t.csv", AGGREGATE.encode("utf-16")),
        ("SDC030", "t.png", "<!doctype html><script>1</script>"),
        ("SDC030", "t.txt", "<!-- c --><html><body>x</body></html>"),
        ("SDC030", "t.svg", "<html></html>"),
        ("SDC030", "t.csv", '[{"a": 1}]'),
        ("SDC030", "t.json", "not json"),
        ("SDC030", "t", "no suffix"),
        ("SDC031", "t.csv", rows("a,n", ["x,10"] * 5001)),
        ("SDC031", "t.txt", b"x" * (16_777_216 + 1)),
        ("SDC031", "t.csv", MANY_COLUMNS + "\n"),
        ("SDC031", "t.json", json.dumps([{"a": 1}] * 5001)),
        ("SDC032", "t.json", NOTEBOOK),
        ("SDC032", "t.json", FOREST),
        ("SDC032", "t.json", WEIGHTS),
        ("SDC032", "t.txt", PRINTED_TREE),
        ("SDC032", "t.csv", pickle.dumps({"a": 1})),
        ("SDC032", "t.txt", pickle.dumps(["a"], protocol=0)),
        ("SDC099", "deep.json", "[" * 200_000 + "]" * 200_000),
        ("SDC099", "huge.csv", "a\n" + "x" * 200_000),
    ],
)
def test_a_planted_violation_is_blocked(rule: str, path: str, content: str | bytes) -> None:
    assert rule in blocked(check(path, content))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("t.csv", AGGREGATE),
        ("t.csv", WEEKS),
        ("t.csv", TERMS),
        ("t.csv", rows("model_id,n", [f"{n % 3},10" for n in range(60)])),
        ("t.csv", rows("covid,n", ["yes,10", "no,25"])),
        ("t.csv", rows("total,x", [f"{value},a" for value in ["1234567890", "1111111111", "9876543217"]])),
        ("t.csv", rows("date,n", [f"202{n % 3}01{n + 1:02},50" for n in range(28)])),
        ("run.log", "commit " + "a1" * 20 + "\nimage digest sha256 " + "b2" * 32 + "\n"),
        ("t.csv", "\ufeffgroup,n\na,10\n"),
        ("t.csv", 'name,n\n"two\nlines",10\n'),
        ("t.csv", "a,b\n1,2,3\n"),
        ("t.csv", rows("a,n", ["x,10"] * 5000)),
        ("t.txt", (b"x" * 63 + b"\n") * 262_144),
        ("t.csv", ""),
        ("t.csv", rows("MZ,DZ", ["10,15"])),
        ("t.md", "# Report\n\n```\na,n\nb,10\nc,15\n```\n\n[link](#x)\n"),
        ("t.json", json.dumps({"table": [{"group": "a", "mean": 0.5, "n": 10}] * 800})),
        ("t.json", json.dumps({"terms": ["a"] * 2000, "coef": [0.5] * 2000})),
        ("fig.png", PNG),
        ("fig.jpg", b"\xff\xd8\xff\xe0" + b"\x00\x10JFIF" + b"\x00" * 50 + b"\xff\xd9"),
        ("fig.svg", '<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns="http://www.w3.org/2000/svg"><text>a</text></svg>'),
        ("run.log", "".join(f"step {n} took {n}.5 seconds\n" for n in range(900))),
        ("run.log", "numpy 1.26\npandas 2.1\nscipy 1.11\n"),
        ("run.txt", "The study has 3 parts, 2 tables, and 1 figure.\n"),
    ],
)  # fmt: skip
def test_a_near_miss_is_not_blocked(path: str, content: str | bytes) -> None:
    assert blocked(check(path, content)) == set()


def test_one_identifier_in_text_needs_a_reason() -> None:
    report = check("run.log", f"first line\nfound {health_numbers(1)[0]} here\n")
    (finding,) = report.findings
    assert (finding.rule, finding.severity, finding.location.line) == ("SDC022", NEEDS_JUSTIFICATION, 2)
    assert report.verdict == "attend"


def test_rows_and_columns_are_counted() -> None:
    report = check("t.csv", AGGREGATE)
    assert (report.rows, report.columns, report.tables, report.verdict) == (30, 3, 1, "none")
    assert check("t.csv", rows("a", ["1"] * 9000)).rows == 5001


def test_a_location_counts_from_one_with_the_header_as_row_zero() -> None:
    (finding,) = [one for one in check("t.csv", NUMBERS).findings if one.rule == "SDC022"]
    assert finding.location.header == "code"
    assert finding.location.cells == tuple((row, 1) for row in range(1, 6))
    assert finding.location.cell_total == 5


def test_the_same_bytes_give_the_same_findings() -> None:
    first, second = check("t.csv", people(200)), check("t.csv", people(200))
    assert first == second
    assert all(len(finding.id) == 32 for finding in first.findings)
    assert {one.id for one in first.findings}.isdisjoint(
        one.id for one in check("t.csv", people(201)).findings
    )


def test_messages_never_repeat_a_value() -> None:
    canary = "CANARY7"
    contents = {
        "t.csv": rows(f"patient_id,{canary}", [f"{canary}{n},{canary}" for n in range(300)]),
        "t.json": json.dumps([{"patient_id": canary, canary: canary}] * 30),
        "t.log": f"{canary}@example.org {canary}",
        f"{canary}.zip": canary,
    }
    for path, content in contents.items():
        for finding in check(path, content).findings:
            assert canary not in finding.message + finding.suggestion
            assert canary not in json.dumps(dict(finding.evidence))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (gzip.compress(b"x", mtime=0), "gzip archive"),
        (zipped(), "zip archive"),
        (PNG + zipped(), "zip archive"),
        (b"a,n\nb,10\n" + zipped(), "zip archive"),
        (b"%PDF-1.7 x", "pdf"),
        (b"PAR1\x00\x01PAR1", "parquet file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office file"),
        (b"A\n3\n262657\n197888\n", "rds file"),
        (bytes([0x72, 2, 1, 0]) + b"\x00" * 20, "stata file"),
        (PNG, "png"),
        (b"plain", "text"),
        (b"", "text"),
        ("é".encode("latin-1"), "binary"),
        (b"a\x00b", "binary"),
    ],
)
def test_kinds_by_content(data: bytes, kind: str) -> None:
    assert sniff.sniff(data) == kind


@pytest.mark.parametrize("rule", sorted(RULES))
def test_O14_a_rule_that_raises_has_passed_nothing(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    def broken(*_arguments: object) -> list[Finding]:
        raise ValueError("no rule is without faults")

    plain = "group,n\na,10\nb,25\n"
    assert blocked(check("t.csv", plain)) == set()
    monkeypatch.setitem(cast("dict[str, object]", RULES), rule, broken)
    report = check("t.csv", plain)
    assert blocked(report) == {"SDC099"}
    assert {"rule": rule, "why": "check failed"} in report.rules_skipped


def test_a_tar_is_known_by_its_content() -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))
    assert sniff.sniff(target.getvalue()) == "tar archive"


@pytest.mark.parametrize(
    "header", ["patient_id", "Patient Id", "PATIENT-ID", "patientid", "patient.id", "p\u0430tient_id"]
)
def test_spellings_of_an_identifier(header: str) -> None:
    assert names_one_of(header, BOOK.id_columns)


def test_words_of_a_header() -> None:
    assert words("nPatients_2021") == ("n", "patients", "2021", "npatients")
    assert "patients" in words("pa\u200btients")
    assert "sha256" in words("sha256")


@pytest.mark.parametrize("header", ["patient", "id", "outpatient_idle", "", "chip", "grid"])
def test_words_that_only_contain_one(header: str) -> None:
    assert not names_one_of(header, BOOK.id_columns)


@given(st.text(max_size=300), st.sampled_from(["csv", "tsv"]))
def test_reading_a_table_never_raises(text: str, suffix: str) -> None:
    for table in delimited(text, suffix, BOOK.limits):
        assert len(table.lines) == len(table.rows)
        for column in range(table.width):
            assert len(table.column(column)) == len(table.rows)


@given(st.text(alphabet='ab1.,|\t "\n-:', max_size=300))
def test_finding_tables_in_text_never_raises(text: str) -> None:
    for table in in_text(text, BOOK.limits):
        assert len(table.lines) == len(table.rows)


@settings(max_examples=300)
@given(st.binary(max_size=400), st.sampled_from([*sorted(BOOK.types), "zip", ""]))
def test_no_bytes_make_the_engine_raise(data: bytes, suffix: str) -> None:
    report = check(f"f.{suffix}", data)
    assert report.verdict in ("none", "note", "attend", "stop")


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=20,
    )
)
def test_no_json_is_left_unchecked(value: object) -> None:
    report = check("f.json", json.dumps(value))
    assert "SDC099" not in blocked(report)
    assert "SDC030" not in blocked(report)
