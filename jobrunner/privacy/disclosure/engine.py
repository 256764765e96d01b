"""Running the rules on one file. Whatever goes wrong on the way is a finding (SDC099), never silence."""

from collections.abc import Sequence

from jobrunner.privacy.disclosure.content import Content, examine, suffix_of
from jobrunner.privacy.disclosure.findings import FileReport, Finding, identified
from jobrunner.privacy.disclosure.rulebook import Rulebook
from jobrunner.privacy.disclosure.rules import RULES

NOT_CHECKED = "SDC099"
_SUGGESTION = "Write a smaller or simpler file, or label it highly_sensitive."


def check_bytes(path: str, data: bytes, size: int, sha256: str, book: Rulebook) -> FileReport:
    """The report on one file by the rules of `files.at_collection`.

    `data`: its bytes, at most the limit plus one; `size`: its whole size; `sha256`: of the whole file.
    """
    try:
        content = examine(path, data, size, book.limits)
    except Exception as error:  # noqa: BLE001 (hostile input: any failure of a parser refuses the file)
        return unchecked(path, size, sha256, book, _word(error))
    findings: list[Finding] = []
    run: list[str] = []
    skipped: list[dict[str, str]] = []
    for name in book.at_collection:
        if name == NOT_CHECKED:
            continue
        settings = book.rules[name]
        if not settings.enabled:
            skipped.append({"rule": name, "why": "disabled"})
            continue
        try:
            findings.extend(RULES[name](content, book, settings))
            run.append(name)
        except Exception as error:  # noqa: BLE001 (a rule that cannot finish has not passed the file)
            findings.append(_not_checked(book, _word(error)))
            skipped.append({"rule": name, "why": _word(error)})
    return _report(content, sha256, run, skipped, findings)


def unchecked(path: str, size: int, sha256: str, book: Rulebook, why: str) -> FileReport:
    """The report on a file that could not be checked. `why` is one of a few fixed words."""
    finding = identified(_not_checked(book, why), path, sha256)
    skipped = tuple({"rule": name, "why": why} for name in book.at_collection if name != NOT_CHECKED)
    return FileReport(path, sha256, size, suffix_of(path), "unknown", 0, None, None, (), skipped, (finding,))


def _report(
    content: Content,
    sha256: str,
    run: Sequence[str],
    skipped: Sequence[dict[str, str]],
    findings: list[Finding],
) -> FileReport:
    largest = max(content.tables, key=lambda table: len(table.rows), default=None)
    return FileReport(
        path=content.path,
        sha256=sha256,
        bytes=content.size,
        type_declared=content.suffix,
        type_found=content.kind,
        tables=len(content.tables),
        rows=len(largest.rows) if largest else None,
        columns=largest.width if largest else None,
        rules_run=tuple(run),
        rules_skipped=tuple(skipped),
        findings=tuple(identified(finding, content.path, sha256) for finding in findings),
    )


def _not_checked(book: Rulebook, why: str) -> Finding:
    return Finding(NOT_CHECKED, book.rules[NOT_CHECKED].severity, f"not checked ({why})", _SUGGESTION)


def _word(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "memory limit"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "check failed"
