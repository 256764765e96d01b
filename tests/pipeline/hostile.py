"""Files made to cost much: name -> text. Each must be answered within the budgets of the format."""

from collections.abc import Callable

_FULL = 1_500_000
_HEAD = "version: 5\nactions:\n"
_OUT = "outputs: {highly_sensitive: {t: a#.csv}}"


def _filled(piece: str, head: str = "", tail: str = "") -> bytes:
    """`piece` again and again: 1.5 MB, since more only takes more of the tests' time."""
    return (head + piece * (_FULL // len(piece.encode())) + tail).encode()


def _numbered(piece: str, head: str = "", tail: str = "") -> bytes:
    """`piece` with `#` replaced by 0, 1, 2, ..., as long as `_filled`."""
    parts, size, number = [head], 0, 0
    while size < _FULL:
        parts.append(piece.replace("#", str(number)))
        size += len(parts[-1])
        number += 1
    return ("".join(parts) + tail).encode()


def _bomb() -> bytes:
    lists = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    return "\n".join(["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]", *lists]).encode()


def _merge_bomb() -> bytes:
    """Each mapping merges the one before twice, and all of it is wanted."""
    lines = [
        "m0: &m0 {k: 1}",
        *(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}" for n in range(1, 60)),
    ]
    return "\n".join(lines).encode()


def _overlaps() -> bytes:
    """Paths at two levels that all nearly match each other's patterns."""
    stars = ", ".join(f"s{n}: 'out/{'a*' * 40}{n}.csv'" for n in range(8_000))
    plain = ", ".join(f"p{n}: out/{'a' * 80}{n}x.csv" for n in range(8_000))
    outputs = f"{{highly_sensitive: {{{stars}}}, moderately_sensitive: {{{plain}}}}}"
    return f"version: 5\nactions: {{a: {{run: r:v2 a, outputs: {outputs}}}}}\n".encode()


def _circle() -> bytes:
    count = 15_000
    rows = (
        f"  a{n}: {{run: r:v2 {n}, needs: [a{(n + 1) % count}], {_OUT.replace('#', str(n))}}}\n"
        for n in range(count)
    )
    return (_HEAD + "".join(rows)).encode()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "alias bomb": _bomb,
    "merge bomb": _merge_bomb,
    "100 MB": lambda: b"a: b\n" * 20_000_000,
    "100 MB of one line": lambda: b"[" * 100_000_000,
    "depth of lists": lambda: b"[" * 10_000,
    "depth of closed lists": lambda: b"a: " + b"[" * 10_000 + b"]" * 10_000,
    "depth of mappings": lambda: b"{a: " * 10_000,
    "depth of dashes": lambda: b"- " * 10_000,
    "depth of question marks": lambda: b"? " * 10_000,
    "depth by indentation": lambda: "\n".join(" " * n + "a:" for n in range(2_500)).encode(),
    "one long text": lambda: _filled("x", "a: "),
    "one long number": lambda: _filled("9", "version: "),
    "one long number with signs": lambda: _filled("1_", "version: "),
    "one long quoted text": lambda: _filled("\\n", 'a: "', '"'),
    "an open quote": lambda: _filled("x\n", "a: '"),
    "many short entries": lambda: _filled("- a\n"),
    "many short keys": lambda: _numbered("k#:\n"),
    "one key again and again": lambda: _filled("a:\n"),
    "many keys that are lists": lambda: _numbered("? [#]\n"),
    "many unknown keys": lambda: _numbered("version#: 1\n"),
    "many tabs": lambda: _filled("-\ta\n"),
    "many signs in brackets": lambda: _filled("?a,", "[", "]"),
    "many anchors": lambda: _numbered("- &a# x\n"),
    "many odd anchors": lambda: _numbered("- &é# x\n"),
    "many aliases": lambda: _filled("- *a\n", "- &a x\n"),
    "many tags": lambda: _filled("- !x y\n"),
    "many tag directives": lambda: _numbered("%TAG !e#! x\n", tail="---\na: 1\n"),
    "many comments": lambda: _filled("# x\n"),
    "many empty lines": lambda: _filled("\n", "a:\n", "b"),
    "many documents": lambda: _filled("--- a\n"),
    "many actions without anything": lambda: _numbered("  a#:\n", _HEAD),
    "many good actions": lambda: _numbered(f"  a#: {{run: r:v2 a#, {_OUT}}}\n", _HEAD),
    "a chain of needs": lambda: _numbered(f"  a#: {{run: r:v2 a#, needs: [b#, a#], {_OUT}}}\n", _HEAD),
    "one circle of all": _circle,
    "many unknown needs": lambda: _numbered(f"  aaaaaaaa#: {{needs: [aaaaaaab#], {_OUT}}}\n", _HEAD),
    "many words": lambda: _filled("'a' ", f"{_HEAD}  a: {{run: \"r:v2 ", '"}'),
    "many stars": lambda: _filled("a*", f"{_HEAD}  a: {{outputs: {{highly_sensitive: {{x: ", ".csv}}}"),
    "patterns that nearly match": _overlaps,
}  # fmt: skip
