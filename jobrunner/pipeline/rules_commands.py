"""The `run` of an action (project-yaml.md 4.4, PY060 to PY068; PS030 to PS036; and PY038)."""

import re

from jobrunner.pipeline.commands import Command, read_command, read_target, target_of
from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.nodes import Node
from jobrunner.pipeline.rules_outputs import MAX_PATTERN_BYTES, Outputs
from jobrunner.pipeline.wording import character, listing, quote
from jobrunner.pipeline.words import IMAGE_NAME, MAX_IMAGE_NAME, MAX_WORD_BYTES, MAX_WORDS

_IMAGE_NAME = re.compile(IMAGE_NAME)
_MODERATE = ("moderately_sensitive", "minimally_sensitive")


class CommandRules:
    """Checks the command of one action after the other; remembers the run texts of the file."""

    def __init__(self, version: float | None, findings: Findings) -> None:
        self._version = version
        self._findings = findings
        #: Run text -> (action, line) of its first place in the file.
        self._firsts: dict[str, tuple[str, int]] = {}
        self._commands: dict[str, Command] = {}

    def check(self, action: str, run: Node, outputs: Outputs | None) -> Command | None:
        """Every rule about a run text; `outputs` is None if missing or misshapen. None: nothing to start."""
        if run.text not in self._commands:
            self._commands[run.text] = read_command(run.text)
        command = self._commands[run.text]
        if not self._check_form(action, run, command):
            return None
        self._check_repeat(action, run)
        self._check_image(action, run, command)
        self._check_size(action, run, command)
        whole = outputs if outputs is not None and outputs.whole else None
        if command.is_cohort and self._version is not None and self._version < 4 and whole and whole.levels:
            self._check_cohort(action, command, whole)
        if command.dataset:
            self._check_dataset(action, run, command, whole)
        return command

    def _check_form(self, action: str, run: Node, command: Command) -> bool:
        """The rules after which a command is not looked at further."""
        name = quote(action)
        rule, message = "", ""
        if command.fault == "empty":
            rule, message = (
                "PY060",
                f"`run` of action {name} is empty. Say what to run: `image:version` and its arguments.",
            )
        elif command.fault == "blank":
            rule, message = "PS031", f"`run` of action {name} is blank. Say what to run."
        elif command.fault == "control":
            rule, message = (
                "PS034",
                f"The command of action {name} holds {character(command.sign)}. Remove it.",
            )
        elif command.fault == "open" and command.sign == "\\":
            rule, message = (
                "PS030",
                f"The command of action {name} ends in a backslash. Remove it, or write two.",
            )
        elif command.fault == "open":
            rule, message = (
                "PS030",
                f"The `{command.sign}` in the command of action {name} is never closed. Close it.",
            )
        elif command.image.version is None:
            word = command.words[0]
            hint = quote(f"{command.image.name or 'r'}:v2")
            rule, message = "PY061", f"{quote(word)} in action {name} lacks a version. Write {hint}, say."
        if rule:
            self._findings.error(rule, run, action, message)
        return not rule

    def _check_repeat(self, action: str, run: Node) -> None:
        if run.text not in self._firsts:
            self._firsts[run.text] = (action, run.line)
            return
        other, line = self._firsts[run.text]
        message = (
            f"runs exactly what {quote(other)} (line {line}) runs. Drop one, or make the commands differ."
        )
        self._findings.error("PY038", run, action, f"Action {quote(action)} {message}", beside=line)

    def _check_image(self, action: str, run: Node, command: Command) -> None:
        image, name = command.image, quote(action)
        if image.version == "latest" and self._version is not None and self._version >= 5:
            message = "which does not say which version. Name one; `latest` has meant `v1`."
            self._findings.error(
                "PY062", run, action, f"Action {name} runs {quote(command.words[0])}, {message}"
            )
        if (
            command.words[0].startswith("cohortextractor")
            and self._version is not None
            and self._version >= 4
        ):
            message = f"`cohortextractor` is retired from version 4 on. Move action {name} to ehrQL."
            self._findings.error("PY063", run, action, message)
        if not image.name:
            word = command.words[0]
            message = f"{quote(word)} in action {name} names no image. Write {quote('r' + word)}, say."
            self._findings.error("PS032", run, action, message)
        elif len(image.name) > MAX_IMAGE_NAME or not _IMAGE_NAME.fullmatch(image.name):
            message = f"Image name {quote(image.name)} in action {name} {_name_fault(image.name)}."
            self._findings.error("PS033", run, action, f"{message} Give the bare name, without a registry.")
        if image.other_digits:
            message = f"The version of {quote(command.words[0])} in action {name} has a digit beyond 0 to 9."
            self._findings.error("PS033", run, action, f"{message} Write it with plain digits.")

    def _check_size(self, action: str, run: Node, command: Command) -> None:
        start = f"The command of action {quote(action)} has"
        advice = "Put the arguments into `config` or a file of the study."
        if len(command.words) > MAX_WORDS:
            message = f"{start} {len(command.words):,} words; {MAX_WORDS} are allowed. {advice}"
            self._findings.error("PS036", run, action, message)
        if command.longest_word > MAX_WORD_BYTES:
            message = (
                f"The command of action {quote(action)} has a word of more than {MAX_WORD_BYTES:,} bytes."
            )
            self._findings.error("PS036", run, action, f"{message} {advice}")

    def _check_cohort(self, action: str, command: Command, outputs: Outputs) -> None:
        """PY064 and PY065."""
        if len(outputs.levels) != 1:
            message = f"makes a cohort and labels it with {len(outputs.levels)} levels. Use one level."
            self._findings.error("PY064", outputs.key, action, f"Action {quote(action)} {message}")
            return
        if any(word == "--output-dir" or word.startswith("--output-dir=") for word in command.words):
            return
        folders = dict.fromkeys(_folder(output.pattern) for output in outputs.listed)
        if len(folders) != 1:
            lie = f"lie in {len(folders)} folders: {listing(folders)}" if folders else "name no folder"
            message = f"The outputs of {quote(action)} {lie}. Put them in one, or add `--output-dir`."
            self._findings.error("PY065", outputs.key, action, message)

    def _check_dataset(self, action: str, run: Node, command: Command, outputs: Outputs | None) -> None:
        """PY066 to PY068; PS035 in their place for a command that only its words tell."""
        exact, name = command.dataset == "exact", quote(action)
        text = target_of(command.argv)
        if not text:
            message = f"Action {name} does not say where to write. Add `--output output/data.csv.gz`."
            self._findings.error("PY067" if exact else "PS035", run, action, message)
        if outputs is None or not outputs.levels:
            return
        if any(output.level in _MODERATE for output in outputs.listed):
            message = (
                f"Action {name} makes patient-level data, so all its outputs must be `highly_sensitive`."
            )
            rule = "PY066" if exact else "PS035"
            self._findings.error(rule, outputs.key, action, f"{message} Move them there.")
            return
        patterns = [output.pattern for output in outputs.listed]
        if (
            not text
            or command.longest_word > MAX_WORD_BYTES
            or any(len(one) > MAX_PATTERN_BYTES for one in patterns)
        ):
            return
        target = read_target(text)
        if not target.fits(patterns):
            odd_folder = target.folder is not None and ("?" in target.folder or "[" in target.folder)
            written = listing(patterns) if patterns else "empty"
            message = f"Action {name} writes {quote(text)} by its command, but its outputs are {written}."
            rule = "PY068" if exact and not odd_folder else "PS035"
            self._findings.error(rule, outputs.key, action, f"{message} Make the two the same.")


def _name_fault(name: str) -> str:
    if len(name) > MAX_IMAGE_NAME:
        return f"is longer than {MAX_IMAGE_NAME} characters"
    if "/" in name:
        return "has a slash"
    if not name[0].isascii() or not name[0].isalnum():
        return "does not begin with a letter or digit"
    return "has other characters than letters, digits, `.`, `_` and `-`"


def _folder(pattern: str) -> str:
    return "/".join(part for part in pattern.split("/")[:-1] if part not in ("", "."))
