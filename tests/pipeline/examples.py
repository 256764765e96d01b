"""The base file of the format's description, and a small language for changes to it."""

MODEL = {
    "run": "r:v2 analysis/model.R",
    "needs": "[extract]",
    "outputs": "{moderately_sensitive: {table: output/table.csv}}",
}
EXTRACT = {
    "run": "ehrql:v1 generate-dataset analysis/dataset.py --output output/data.csv.gz",
    "outputs": "{highly_sensitive: {data: output/data.csv.gz}}",
}

#: One change: the place ("top", "model", "extract" or "file") and the lines that replace its own.
Change = tuple[str, str]


def build(*changes: Change) -> bytes:
    """The base file with changes.

    A line `key: value` takes the place of that key, or is added; `-key` drops it. A line that begins with `+`
    is added as it stands, whatever is there already. "file" is the whole text.
    """
    model, extract = _as_lines(MODEL), _as_lines(EXTRACT)
    top = {"version": ["version: '5.0'"], "actions": ["actions:"]}
    replaced = False
    for place, lines in changes:
        if place == "file":
            return lines.encode("utf-8", "surrogateescape")
        for line in lines.split("\n"):
            _apply({"top": top, "model": model, "extract": extract}[place], line)
            replaced = replaced or (place == "top" and line.lstrip("-").startswith("actions"))
    text: list[str] = []
    for key, lines in top.items():
        text += lines
        if key == "actions" and not replaced:
            text += ["  extract:", *(f"    {line}" for part in extract.values() for line in part)]
            text += ["  model:", *(f"    {line}" for part in model.values() for line in part)]
    return ("\n".join(text) + "\n").encode("utf-8", "surrogateescape")


def _as_lines(values: dict[str, str]) -> dict[str, list[str]]:
    return {key: [f"{key}: {value}"] for key, value in values.items()}


def _apply(part: dict[str, list[str]], line: str) -> None:
    if line.startswith("+"):
        part.setdefault(line, []).append(line[1:])
    elif line.startswith("-"):
        part.pop(line[1:])
    else:
        part[line.split(":", 1)[0]] = [line]


BASE = build()
