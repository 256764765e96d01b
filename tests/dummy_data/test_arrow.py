"""Dummy data as Arrow, written and read where pyarrow is: in the image of sqlrunner."""

import subprocess
import sys
from pathlib import Path

import pytest

import jobrunner
from jobrunner.dummy_data.arrow_file import ArrowMissing, load_pyarrow

pytest_plugins = ["tests.fixtures.engine"]

PROGRAM = """
import hashlib, io
import pyarrow as pa
from datetime import date, datetime
from jobrunner.dummy_data.arrow_file import write_arrow
from jobrunner.dummy_data.schema import Column, Table

table = Table("t", tuple(Column(name=kind, type=kind) for kind in (
    "int", "float", "bool", "str", "category", "date", "datetime", "other")))
row = [7, 0.5, True, "x", "F", date(2020, 2, 29), datetime(2020, 2, 29, 1, 2, 3), None]
written = []
for _ in range(2):
    file = io.BytesIO()
    write_arrow(table, ([[value, None] for value in row] for _ in range(3)), file)
    written.append(file.getvalue())
assert written[0] == written[1]
found = pa.ipc.open_file(io.BytesIO(written[0])).read_all()
assert found.num_rows == 6
assert [list(entry.values()) for entry in found.to_pylist()[:2]] == [row, [None] * 8]
print(",".join(str(field.type) for field in found.schema))
"""


@pytest.mark.docker
def test_arrow_has_the_declared_types(sqlrunner_v1_image: str, tmp_path: Path) -> None:
    package = Path(jobrunner.__file__).parent
    # Only what the writer needs: the image has no PyYAML, which the rest of the package reads schemas with.
    for name in ("arrow_file", "schema", "tables", "draws"):
        copy = tmp_path / "jobrunner" / "dummy_data" / f"{name}.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((package / "dummy_data" / f"{name}.py").read_bytes())
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [
            "docker", "run", "--rm", "--network", "none", "--volume", f"{tmp_path}:/code:ro",
            "--env", "PYTHONPATH=/code", "--entrypoint", "python3", sqlrunner_v1_image, "-c", PROGRAM,
        ],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "int64,double,bool,string,string,date32[day],timestamp[us],null"


@pytest.mark.unit
def test_without_the_library_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ArrowMissing, match=r"Write a \.csv"):
        load_pyarrow()
