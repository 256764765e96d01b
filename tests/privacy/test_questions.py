"""Asking ahead: a worker at the other end of a real socket that dies, lies or says a lot."""

import errno
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner.privacy import frames
from jobrunner.privacy.confined_process import NotConfined
from jobrunner.privacy.disclosure.findings import FileReport
from jobrunner.privacy.questions import ASKED_AHEAD, Questions, Request, Unanswered

pytestmark = pytest.mark.unit

PATIENCE_S = 1.0

Answer = Callable[[socket.socket, dict[str, Any]], None]


def report(question: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An answer without findings, as the worker sends it."""
    about = {
        "path": question["path"],
        "sha256": question["sha256"],
        "bytes": 3,
        "type_declared": "csv",
        "type_found": "text",
        "tables": 1,
        "rows": 2,
        "columns": 1,
        "rules_run": [],
        "rules_skipped": [],
        "findings": [],
    }
    return {"id": question["id"], "report": {**about, **changes}}


class Site:
    """Files that are asked about, and workers that answer as the test says, one after the other."""

    def __init__(self, folder: Path, *answers: Answer) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.started = 0
        self.broken = 0
        self.wanted: Callable[[], object] = lambda: None
        self.patience_s = PATIENCE_S
        self._answers = list(answers)
        self._line: socket.socket | None = None
        self._workers: list[threading.Thread] = []
        self.questions = Questions(self._worker, self._break, lambda: self.wanted())

    def request(self, name: str) -> Request:
        stored = self.folder / name
        stored.write_bytes(b"a\n1")
        return Request(name, stored, "0" * 64, 3, is_log=False)

    def ask(self, *names: str) -> None:
        for name in names:
            self.questions.ask(self.request(name))

    def answers(self) -> dict[str, str]:
        """What came of each open question: its path, and `checked` or why not."""
        found = {}
        while len(self.questions):
            request, answer = self.questions.answer()
            found[request.path] = "checked" if isinstance(answer, FileReport) else answer.why
        return found

    def _worker(self) -> socket.socket:
        if self._line is None:
            self.started += 1
            if not self._answers:
                raise NotConfined("no more workers")
            self._line, theirs = socket.socketpair()
            self._line.settimeout(self.patience_s)
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
            answer = self._answers.pop(0)
            worker = threading.Thread(target=self._serve, args=(theirs, answer), daemon=True)
            worker.start()
            self._workers.append(worker)
        return self._line

    def _serve(self, line: socket.socket, answer: Answer) -> None:
        with line, suppress(frames.BrokenConversation, ConnectionError):
            while (received := frames.receive(line)) is not None:
                question, fd = received
                assert fd is not None
                os.close(fd)
                self.asked.append(question["path"])
                answer(line, question)

    def _break(self) -> None:
        self.broken += 1
        if self._line is not None:
            self._line.close()
            self._line = None

    def open_files(self) -> list[str]:
        """Files of the folder that this process holds open."""
        links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [str(link) for link in links if self.folder in link.parents]

    def close(self) -> None:
        self._break()
        for worker in self._workers:
            worker.join(5)


@contextmanager
def site(folder: Path, *answers: Answer) -> Iterator[Site]:
    made = Site(folder, *answers)
    try:
        yield made
    finally:
        made.close()


def honest(line: socket.socket, question: dict[str, Any]) -> None:
    frames.send(line, report(question))


def dies_of(name: str) -> Answer:
    def answer(line: socket.socket, question: dict[str, Any]) -> None:
        if question["path"] == name:
            line.shutdown(socket.SHUT_RDWR)
            raise ConnectionError
        honest(line, question)

    return answer


def test_O14_who_dies_of_one_file_is_asked_again_about_those_behind_it(tmp_path: Path) -> None:
    names = [f"{number}.csv" for number in range(ASKED_AHEAD)]
    with site(tmp_path, dies_of("2.csv"), honest) as made:
        made.ask(*names)
        found = made.answers()
    assert list(found) == names
    assert {name for name in names if found[name] != "checked"} == {"2.csv"}
    assert found["2.csv"] == "check failed"


def test_O14_each_file_that_kills_costs_itself_only(tmp_path: Path) -> None:
    with site(tmp_path, dies_of("b"), dies_of("d"), honest) as made:
        made.ask("a", "b", "c", "d", "e")
        found = made.answers()
    assert found == {
        "a": "checked",
        "b": "check failed",
        "c": "checked",
        "d": "check failed",
        "e": "checked",
    }


def test_O14_without_another_worker_nothing_passes(tmp_path: Path) -> None:
    with site(tmp_path, dies_of("a")) as made:
        made.ask("a", "b")
        assert made.answers() == {"a": "check failed", "b": "check failed"}
        made.ask("c")
        assert made.answers() == {"c": "check failed"}
        # One that did not start was told to be of no use, each time.
        assert (made.started, made.broken) == (3, 3)


class Unwanted(Exception):
    pass


def unwanted() -> None:
    raise Unwanted


def test_P21_no_worker_is_started_for_nobody(tmp_path: Path) -> None:
    """Each start may take its time, and there may be one for each file that was asked ahead."""
    with site(tmp_path, dies_of("a"), honest) as made:
        made.ask("a", "b", "c")
        made.questions.answer()
        made.wanted = unwanted
        with pytest.raises(Unwanted):
            made.questions.answer()
        assert made.started == 1


def test_P21_after_a_death_one_worker_at_most_is_tried_for_an_answer(tmp_path: Path) -> None:
    with site(tmp_path, dies_of("a")) as made:
        made.ask("a", "b", "c", "d")
        tried = []
        while len(made.questions):
            made.questions.answer()
            tried.append(made.started)
        assert tried == [1, 2, 3, 4]


@pytest.mark.slow
def test_P21_who_waits_for_a_silent_worker_can_be_stopped(tmp_path: Path) -> None:
    with site(tmp_path, lambda _line, _question: None) as made:
        made.ask("a")
        made.wanted = unwanted
        with pytest.raises(Unwanted):
            made.questions.answer()


@pytest.mark.slow
def test_O14_a_worker_that_reads_nothing_and_answers_all_is_left(tmp_path: Path) -> None:
    """It says that a child died, without an end: that may cost what it was asked, and nobody else."""

    def floods(line: socket.socket, _question: dict[str, Any]) -> None:
        while True:
            frames.send(line, {"died": "check failed"})

    found: dict[str, str] = {}
    with site(tmp_path, floods, honest) as made:
        made.patience_s = 20
        for number in range(1000):
            made.ask(f"{number:04}.csv")
            if len(made.questions) == ASKED_AHEAD:
                request, answer = made.questions.answer()
                found[request.path] = "checked" if isinstance(answer, FileReport) else answer.why
        found |= made.answers()
        assert made.broken == 1
        # Nobody waits, deaf to a cancel, until it takes more.
        assert made.questions.seconds < 10
    assert list(found) == [f"{number:04}.csv" for number in range(1000)]
    checked = [name for name, what in found.items() if what == "checked"]
    # No worker skips one: all after the last that the first one cost.
    assert 0 < len(checked) < 1000
    assert checked == list(found)[-len(checked) :]


@pytest.mark.slow
def test_O14_a_worker_that_answers_everything_else_is_left(tmp_path: Path) -> None:
    def floods(line: socket.socket, _question: dict[str, Any]) -> None:
        while True:
            frames.send(line, {"id": -1})

    looks = []
    with site(tmp_path, floods, honest) as made:
        made.ask("a", "b")
        made.wanted = lambda: looks.append(1)
        assert made.answers() == {"a": "check failed", "b": "checked"}
        assert len(looks) > 10
        assert PATIENCE_S < made.questions.seconds < 4 * PATIENCE_S


@pytest.mark.slow
def test_O14_a_worker_that_drips_is_left(tmp_path: Path) -> None:
    def drips(line: socket.socket, question: dict[str, Any]) -> None:
        frames.send(line, {"id": -1})
        line.sendall((1000).to_bytes(4, "big"))
        while True:
            line.sendall(b" ")
            time.sleep(PATIENCE_S / 20)

    with site(tmp_path, drips, honest) as made:
        made.ask("a", "b")
        assert made.answers() == {"a": "check failed", "b": "checked"}
        assert made.questions.seconds < 4 * PATIENCE_S


def test_O14_no_room_for_a_worker_costs_the_file_and_not_the_job(tmp_path: Path) -> None:
    broken = []

    def no_room() -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    with site(tmp_path) as made:
        questions = Questions(no_room, lambda: broken.append(1), lambda: None)
        questions.ask(made.request("a"))
        _request, answer = questions.answer()
    assert answer == Unanswered("check failed")
    assert broken == [1]


def test_a_log_that_grew_since_it_was_asked_about_costs_no_worker(tmp_path: Path) -> None:
    def grown(line: socket.socket, question: dict[str, Any]) -> None:
        frames.send(line, report(question, **({"sha256": "1" * 64} if question["is_log"] else {})))

    with site(tmp_path, grown) as made:
        made.questions.ask(replace(made.request("log"), is_log=True))
        made.ask("a")
        assert made.answers() == {"log": "check failed", "a": "checked"}
        assert made.broken == 0


def test_a_file_that_is_gone_costs_no_worker(tmp_path: Path) -> None:
    with site(tmp_path, honest) as made:
        gone = made.request("gone")
        gone.stored.unlink()
        made.ask("a")
        made.questions.ask(gone)
        made.ask("b")
        assert made.answers() == {"a": "checked", "gone": "check failed", "b": "checked"}
        assert made.broken == 0


@pytest.mark.parametrize("word", ["time limit", "check failed"])
def test_of_a_child_that_died_the_oldest_file_is_why(tmp_path: Path, word: str) -> None:
    def answer(line: socket.socket, question: dict[str, Any]) -> None:
        if question["path"] == "b":
            frames.send(line, {"died": word})
        else:
            honest(line, question)

    with site(tmp_path, answer) as made:
        made.ask("a", "b", "c")
        assert made.answers() == {"a": "checked", "b": word, "c": "checked"}
        assert made.broken == 0


@pytest.mark.parametrize("word", ["anything else", "", None, 1, [], {"time limit": 1}])
def test_O14_a_worker_puts_no_words_of_its_own_into_a_report(tmp_path: Path, word: object) -> None:
    with site(tmp_path, lambda line, _question: frames.send(line, {"died": word})) as made:
        made.ask("a")
        assert made.answers() == {"a": "check failed"}


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "another.csv"},
        {"sha256": "1" * 64},
        {"findings": None},
        {"findings": [1]},
        {"findings": [{"location": {"cells": [[math.inf, 0]]}, "related": []}]},
        {"rows": "many"},
        {"columns": [2]},
    ],
)
def test_O14_a_report_on_another_file_is_none_on_this(tmp_path: Path, changes: dict[str, Any]) -> None:
    def lies(line: socket.socket, question: dict[str, Any]) -> None:
        frames.send(line, report(question, **changes))

    with site(tmp_path, lies, honest) as made:
        made.ask("a", "b")
        assert made.answers() == {"a": "check failed", "b": "checked"}
        assert made.broken == 1


def test_O14_a_report_that_comes_too_early_counts_for_nobody(tmp_path: Path) -> None:
    """Who answers the second question in the first one's place has not looked at the second file."""

    def early(line: socket.socket, question: dict[str, Any]) -> None:
        if question["path"] == "a":
            frames.send(line, report({**question, "id": question["id"] + 1, "path": "b"}))
            honest(line, question)
        else:
            frames.send(line, {"died": "time limit"})

    with site(tmp_path, early) as made:
        made.ask("a", "b")
        assert made.answers() == {"a": "checked", "b": "time limit"}


def test_O14_a_worker_that_sends_a_file_is_left(tmp_path: Path) -> None:
    def sends(line: socket.socket, question: dict[str, Any]) -> None:
        fd = os.open(tmp_path / "a", os.O_RDONLY)
        try:
            frames.send(line, report(question), fd)
        finally:
            os.close(fd)

    with site(tmp_path, sends, honest) as made:
        made.ask("a")
        assert made.answers() == {"a": "check failed"}
        assert made.broken == 1
        made.close()
        assert made.open_files() == []


def test_long_answers_block_nobody(tmp_path: Path) -> None:
    """Far more than a socket holds, for each of the files that were asked ahead."""

    def talks(line: socket.socket, question: dict[str, Any]) -> None:
        frames.send(line, report(question, rules_skipped=["x" * 100] * 20_000))

    names = [f"{number}.csv" for number in range(ASKED_AHEAD)]
    with site(tmp_path, talks) as made:
        made.ask(*names)
        assert made.answers() == dict.fromkeys(names, "checked")


def test_what_is_asked_is_sent_before_an_answer_is_taken(tmp_path: Path) -> None:
    with site(tmp_path, honest) as made:
        made.ask("a", "b", "c")
        assert len(made.questions) == 3
        first, answer = made.questions.answer()
        assert (first.path, len(made.questions)) == ("a", 2)
        assert not isinstance(answer, Unanswered)
        made.answers()
        assert made.asked == ["a", "b", "c"]
        assert made.open_files() == []


def test_what_is_dropped_comes_back_in_order(tmp_path: Path) -> None:
    with site(tmp_path, honest) as made:
        made.ask("a", "b", "c")
        made.questions.answer()
        assert [request.path for request in made.questions.drop()] == ["b", "c"]
        assert len(made.questions) == 0


def test_the_time_of_an_answer_counts(tmp_path: Path) -> None:
    def slow(line: socket.socket, question: dict[str, Any]) -> None:
        time.sleep(0.2)
        honest(line, question)

    with site(tmp_path, slow) as made:
        made.ask("a")
        made.answers()
        assert made.questions.seconds >= 0.2
