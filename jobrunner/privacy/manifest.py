"""manifest.json of a workspace: the fields that existing site tools know (design.md section 6). Pure."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any

from jobrunner.privacy import documents, names
from jobrunner.privacy.alike import shown
from jobrunner.privacy.levels import MODERATELY
from jobrunner.privacy.outputs import OutputsRefused
from jobrunner.privacy.records import RunOutput, RunRecord

Manifest = dict[str, Any]

_TOP = frozenset({"workspace", "repo", "project", "backend", "outputs", "actions"})
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
# Rule PS020 of the pipeline file, asked again before a path is built.
_ACTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,127}")


class ManifestBroken(Exception):
    """A manifest.json that cannot be read: nothing is published over it until the operator has looked."""


def require_names(workspace: str, action: str) -> None:
    """Raise ValueError unless both may become names of files."""
    if not _WORKSPACE.fullmatch(workspace):
        raise ValueError("a workspace name has signs of a-z, 0-9 and -")
    if not _ACTION.fullmatch(action):
        raise ValueError("an action id has signs of A-Z, a-z, 0-9, `.`, `_` and `-`")


def load(content: bytes) -> Manifest:
    """The manifest in `content`. Raises ManifestBroken."""
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestBroken("manifest.json is not JSON") from error
    if not isinstance(manifest, dict) or set(manifest) != _TOP:
        raise ManifestBroken("manifest.json has other fields than it should")
    if not isinstance(manifest["outputs"], dict) or not isinstance(manifest["actions"], dict):
        raise ManifestBroken("manifest.json has no mapping of outputs and actions")
    return manifest


def dump(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: keys sorted, UTF-8."""
    return documents.dump(manifest)


def is_older(manifest: Manifest | None, record: RunRecord) -> bool:
    """Whether a higher attempt of the same job is already current."""
    current = _action(manifest, record.facts.action)
    return current is not None and current["job_id"] == record.job_id and current["attempt"] > record.attempt


def require_free(
    manifest: Manifest | None, action: str, paths: Collection[str], actions: Collection[str] | None = None
) -> None:
    """Raise OutputsRefused for each of `paths` that belongs to, or collides with, another action's output.

    `actions`: the actions of project.yaml at this commit, if known. An action that the file no longer has
    owns nothing any more, so that an action can be renamed.
    """
    owners = {
        path: entry["action"]
        for path, entry in (manifest["outputs"] if manifest else {}).items()
        if entry["action"] != action and (actions is None or entry["action"] in actions)
    }
    refused = [(path, f"it is an output of action {owners[path]}") for path in paths if path in owners]
    for path, other in names.collisions(paths, owners):
        refused.append((path, f"its name collides with {shown(other)}"))
    if refused:
        raise OutputsRefused(refused)


def require_same_project(manifest: Manifest | None, record: RunRecord) -> None:
    """Raise OutputsRefused when the workspace holds what another project or repository made.

    The name of a workspace is short, so that two of them could be made to meet.
    """
    facts = record.facts
    if manifest and (manifest["project"], manifest["repo"]) != (facts.project, facts.repo):
        raise OutputsRefused([("", "the workspace holds outputs of another project or repository")])


def with_run(manifest: Manifest | None, record: RunRecord, backend: str) -> Manifest:
    """A new manifest in which `record` is the current run of its action. The old one is left as it is."""
    facts = record.facts
    ours = {output.path: _output_entry(record, output) for output in record.outputs}
    old_outputs = manifest["outputs"] if manifest else {}
    others = {path: entry for path, entry in old_outputs.items() if entry["action"] != facts.action}
    # After `require_free` what is in the way can only belong to actions that project.yaml no longer has.
    # Older manifests may hold outputs that collide among themselves: the newest of them is the one there.
    tree = names.Tree(ours)
    kept = {}
    for path, entry in sorted(others.items(), key=lambda other: -other[1]["timestamp"]):
        if tree.has_room_for(path):
            tree.add(path)
            kept[path] = entry
    return {
        "workspace": facts.workspace,
        "repo": facts.repo,
        "project": facts.project,
        "backend": backend,
        "outputs": {**kept, **ours},
        "actions": {**(manifest["actions"] if manifest else {}), facts.action: _action_entry(record)},
    }


def medium_part(manifest: Manifest) -> Manifest:
    """What the medium area may know: nothing about highly sensitive files, not even their names."""
    outputs = {path: entry for path, entry in manifest["outputs"].items() if entry["level"] == MODERATELY}
    return {**manifest, "outputs": outputs}


def notice_paths(manifest: Manifest) -> dict[str, str]:
    """The excluded outputs and excluded logs of a manifest: path of the notice -> its message.

    The notice of `<path>` is `<path>.txt`. A notice never stands in the way of an output: where that is the
    name of one, or of a folder of outputs, the notice is `<path>.2.txt`, or the first number that is free.
    Only moderately sensitive outputs count, so that no name tells of a highly sensitive one. As a part of an
    output's path has at most `names.PART_BYTES`, no name here is too long for a file system.
    """
    moderate = {path: entry for path, entry in manifest["outputs"].items() if entry["level"] == MODERATELY}
    excluded = [path for path in sorted(moderate) if moderate[path]["excluded"]]
    tree = names.Tree(moderate)
    places = {path: f"{path}.txt" for path in excluded if tree.has_room_for(f"{path}.txt")}
    for place in places.values():
        tree.add(place)
    for path in excluded:
        if path not in places:
            numbered = (f"{path}.{number}.txt" for number in count(2))
            places[path] = next(place for place in numbered if tree.has_room_for(place))
            tree.add(places[path])
    found = {places[path]: moderate[path]["message"] for path in excluded}
    for action, entry in manifest["actions"].items():
        if entry["log_excluded"]:
            found[f"metadata/{action}.log.txt"] = entry["log_message"]
    return found


def high_view(manifest: Manifest) -> set[str]:
    """Every file of the workspace in the high area."""
    return {*manifest["outputs"], *_logs(manifest["actions"]), "metadata/manifest.json"}


def medium_view(manifest: Manifest) -> set[str]:
    """Every file of the workspace in the medium area."""
    shown_outputs = {
        path
        for path, entry in manifest["outputs"].items()
        if entry["level"] == MODERATELY and not entry["excluded"]
    }
    logs = _logs({name: entry for name, entry in manifest["actions"].items() if not entry["log_excluded"]})
    return {*shown_outputs, *logs, *notice_paths(manifest), "metadata/manifest.json"}


def _logs(actions: Mapping[str, Any]) -> set[str]:
    return {f"metadata/{action}.log" for action in actions}


def _action(manifest: Manifest | None, action: str) -> Mapping[str, Any] | None:
    return manifest["actions"].get(action) if manifest else None


def _output_entry(record: RunRecord, output: RunOutput) -> dict[str, Any]:
    facts = record.facts
    return {
        "level": output.level,
        "job_id": record.job_id,
        "job_request": facts.job_request,
        "action": facts.action,
        "commit": facts.commit,
        "repo": facts.repo,
        "size": output.size,
        "timestamp": facts.finished,
        "content_hash": output.sha256,
        "excluded": output.excluded,
        "message": output.message,
        "row_count": output.row_count,
        "col_count": output.col_count,
        "user": "",
    }


def _action_entry(record: RunRecord) -> dict[str, Any]:
    facts = record.facts
    return {
        "job_id": record.job_id,
        "job_request": facts.job_request,
        "attempt": record.attempt,
        "repo": facts.repo,
        "branch": facts.branch,
        "commit": facts.commit,
        "tree": facts.tree,
        "image_id": facts.image_id,
        "command": list(facts.argv),
        "inputs": _input_runs(record),
        "started": facts.started,
        "finished": facts.finished,
        "log_excluded": record.log.excluded,
        "log_message": record.log.message,
    }


def _input_runs(record: RunRecord) -> list[dict[str, Any]]:
    """The runs that gave inputs. `sha256` covers the lines "<sha256>  <path>" of that run's files, sorted."""
    runs: dict[tuple[str, str, int], list[str]] = {}
    for one in record.facts.inputs:
        runs.setdefault((one.action, one.job_id, one.attempt), []).append(f"{one.sha256}  {one.path}\n")
    return [
        {
            "action": action,
            "job_id": job_id,
            "attempt": attempt,
            "sha256": hashlib.sha256("".join(sorted(lines)).encode("utf-8")).hexdigest(),
        }
        for (action, job_id, attempt), lines in sorted(runs.items())
    ]
