"""Where libyaml reads YAML 1.1: what YAML 1.2 allows is put in a form that libyaml takes.

Each change swaps one character for another in its place, so positions stay as they are. Only what libyaml
stumbles over is changed, and the text is then read again.
"""

import re

#: How many characters may be read again in all. A file with more such places is refused (PY001).
_MOST_READ_AGAIN = 20_000_000

_TAB_PROBLEMS = (
    "found character that cannot start any token",
    "found a tab character that violates indentation",
)
_BLANK_OR_COMMENT = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:[\r\n]|\Z)")
_BLANKS = re.compile(r"[ \t]+")
_NOT_PLAIN_AFTER_SIGN = frozenset(" \t\r\n,[]{}")
_FIRST_STAND_IN = 0xE000

_NAME_PROBLEM = "did not find expected alphabetic or numeric character"
_NAME_AS_FAR_AS_READ = re.compile(r"[&*][A-Za-z0-9_-]*\Z")
_NAME = re.compile(r"[^ \t\r\n,\[\]{}]+")
_NAME_TAKEN = re.compile(r"[&*]([0-9]+)")

#: A file with more anchors of such names is refused, and with more than ten of one sign each (PY001).
_MOST_ODD_NAMES = 1_000


class Misread(Exception):
    """libyaml took the sign at `index` for an indicator, but in YAML 1.2 it begins a plain scalar."""

    def __init__(self, index: int) -> None:
        super().__init__(f"misread sign at {index}")
        self.index = index


class Adapted:
    """A text, and the form of it that libyaml may read."""

    def __init__(self, text: str) -> None:
        self.original = text
        self.text = text
        self.has_tab = "\t" in text
        #: Stand-in -> the sign it stands for; to be put back into what is read.
        self.signs: dict[int, str] = {}
        #: Stand-in -> the name of an anchor that it stands for, and the other way round.
        self.names: dict[str, str] = {}
        self._stand_ins: dict[str, str] = {}
        self._taken: set[str] = set()
        self._left = _MOST_READ_AGAIN

    def mend(self, index: int, problem: str) -> bool:
        """Change what stands at `index`, where libyaml found this problem; False if it is rightly refused."""
        if index >= len(self.text):
            return False
        sign = self.text[index]
        if problem == _NAME_PROBLEM:
            return self._mend_name(index)
        if sign == "\t" and problem in _TAB_PROBLEMS:
            return self._mend_tab(index)
        if sign in "?:" and problem == "did not find expected node content":
            return self.mend_sign(index)
        return False

    def mend_sign(self, index: int) -> bool:
        """Let `?` or `:` begin a plain scalar in flow style if no space follows it."""
        if self.original[index + 1 : index + 2] in ("", *_NOT_PLAIN_AFTER_SIGN):
            return False
        return self._replace(index, self._stand_in(self.text[index]))

    def _mend_name(self, index: int) -> bool:
        """A name may hold any sign but space, comma and brackets; libyaml takes ASCII letters only."""
        begun = _NAME_AS_FAR_AS_READ.search(self.text, max(0, index - 1_024), index)
        name = _NAME.match(self.text, begun.start() + 1) if begun else None
        stand_in = self._name_for(name.group()) if name else None
        return bool(name and stand_in and self._replace(name.start(), stand_in))

    def _name_for(self, name: str) -> str | None:
        """A name of the same length that no other anchor has; None if there is none left."""
        if name in self._stand_ins:
            return self._stand_ins[name]
        if not self.names:
            self._taken = set(_NAME_TAKEN.findall(self.original))
        for number in range(_MOST_ODD_NAMES):
            candidate = f"{number:0{len(name)}d}"
            if len(candidate) == len(name) and candidate not in self._taken:
                self._taken.add(candidate)
                self._stand_ins[name] = candidate
                self.names[candidate] = name
                return candidate
        return None

    def restore(self, text: str) -> str:
        """Text as read, with the signs put back."""
        return text.translate(self.signs) if self.signs else text

    def tab_before(self, index: int) -> bool:
        """Whether a tab is among the blanks just before `index`."""
        return self.has_tab and "\t" in self._blanks_before(index)

    def tab_indents(self, index: int) -> bool:
        """Whether `index` is the first sign of its line and a tab opens that line."""
        blanks = self._blanks_before(index) if self.has_tab else ""
        start = index - len(blanks)
        return blanks.startswith("\t") and (start == 0 or self.original[start - 1] in "\r\n")

    def _blanks_before(self, index: int) -> str:
        start = index
        while start and self.original[start - 1] in " \t":
            start -= 1
        return self.original[start:index]

    def _mend_tab(self, index: int) -> bool:
        """A tab may stand on a blank line, before a comment, or after `-`, `?` or `:`; it never indents."""
        start = index - len(self._blanks_before(index))
        opens_line = start == 0 or self.original[start - 1] in "\r\n"
        if opens_line and not _BLANK_OR_COMMENT.match(self.original, index):
            return False
        blanks = _BLANKS.match(self.text, index)
        end = blanks.end() if blanks else index + 1
        return self._replace(index, " " * (end - index))

    def _stand_in(self, sign: str) -> str:
        for known, meant in self.signs.items():
            if meant == sign:
                return chr(known)
        code = _FIRST_STAND_IN
        while chr(code) in self.text or code in self.signs:
            code += 1
        self.signs[code] = sign
        return chr(code)

    def _replace(self, index: int, chars: str) -> bool:
        """False if too much has been read again already."""
        # Reading goes up to `index` each time; copying the text costs far less a character.
        cost = index + len(self.text) // 20
        if self._left < cost:
            return False
        self._left -= cost
        self.text = self.text[:index] + chars + self.text[index + len(chars) :]
        return True
