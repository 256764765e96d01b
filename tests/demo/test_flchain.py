"""The public data are exactly the file that we know, or nothing."""

import csv
import io

import pytest

from jobrunner.demo import flchain

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("arff", [b"", b"@relation flchain\n@data\n1,F\n", b"\xff\x80"])
def test_another_file_is_refused(arff: bytes) -> None:
    with pytest.raises(flchain.DataProblem, match="not the file"):
        flchain.to_csv(arff)


def test_a_short_file_is_refused_even_with_the_right_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    arff = b"@relation flchain\n@attribute age numeric\n@data\n97\n"
    monkeypatch.setattr(flchain, "_MEMBER_SHA256", flchain.hashlib.sha256(arff).hexdigest())
    with pytest.raises(flchain.DataProblem, match="1 rows"):
        flchain.to_csv(arff)


def test_missing_values_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    arff = b"@relation flchain\n@attribute age numeric\n@attribute chapter {Skin,Ill Defined}\n@data\n97,?\n"
    monkeypatch.setattr(flchain, "_MEMBER_SHA256", flchain.hashlib.sha256(arff).hexdigest())
    monkeypatch.setattr(flchain, "PEOPLE", 1)
    rows = list(csv.DictReader(io.StringIO(flchain.to_csv(arff).decode())))
    assert rows == [{"age": "97", "chapter": ""}]
