"""What no source of the product may do (threats.md P16), found in its syntax tree."""

import ast

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"}
RANDOM_ALLOWED = {"jobrunner/agent/contact.py"}  # jitter of pauses; no secret comes from it


def bad_habits(source: str, place: str) -> set[str]:
    """Names of what this source does and no source of the product may do."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Assert):
            found.add("assert")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in (
                "eval",
                "exec",
                "compile",
                "__import__",
                "os.system",
                "os.popen",
                "tempfile.mktemp",
            ):
                found.add(called)
            if called in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"):
                found.add("yaml.load")
            if any(
                keyword.arg == "shell" and ast.unparse(keyword.value) != "False" for keyword in node.keywords
            ):
                found.add("shell")
            if any(
                keyword.arg == "verify" and ast.unparse(keyword.value) == "False" for keyword in node.keywords
            ):
                found.add("verify")
        for name in names:
            top = name.split(".")[0]
            if top in FORBIDDEN_MODULES:
                found.add(top)
            if top == "random" and place not in RANDOM_ALLOWED:
                found.add("random")
    return found
