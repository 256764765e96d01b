"""From the profile to the engine's create call, and from the engine's answer back to the profile."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from jobrunner.executors.base import ActionRun, SandboxProfile

# What an image may add to the inspected config and no call can take away. Without a network, and
# with our own entrypoint, none of it has an effect.
_FROM_IMAGE: Final = ("ExposedPorts", "Shell", "OnBuild")


def create_body(
    profile: SandboxProfile,
    run: ActionRun,
    image: Mapping[str, Any],
    workspace: Path,
    database_file: Path | None = None,
) -> dict[str, Any]:
    """The body of the create call. `image` is the config of the image, as the engine inspects it.

    `workspace` is the folder of the host that the job gets as /workspace. `database_file` is what a run with
    a database gets to read; for any other run nothing else is mounted.
    """
    body = _value(profile.config, run)
    body["Env"] = environment(profile, run, image)
    body["HostConfig"] = _value(profile.host, run)
    [mount] = body["HostConfig"]["Mounts"]
    mount["Source"] = str(workspace)
    if run.database is not None:
        mount = {**_value(profile.database_mount, run), "Source": str(database_file)}
        body["HostConfig"]["Mounts"].append(mount)
    body["HostConfig"]["SecurityOpt"].append(f"seccomp={profile.seccomp}")
    return dict(body)


def environment(profile: SandboxProfile, run: ActionRun, image: Mapping[str, Any]) -> list[str]:
    """The whole environment: ours, what policy keeps, and every other name of the image unset."""
    values = {**_value(profile.environment, run), **run.environment}
    if run.database is not None:
        values.update(_value(profile.database_environment, run))
    for entry in image.get("Env") or []:
        name = entry.partition("=")[0]
        values.setdefault(name, None)
    return [name if value is None else f"{name}={value}" for name, value in values.items()]


def differences(
    profile: SandboxProfile,
    body: Mapping[str, Any],
    seen: Mapping[str, Any],
    image: Mapping[str, Any],
    name: str,
) -> list[str]:
    """What the inspected container has otherwise than `body` asked. Empty means equal, field by field.

    A key that `body` does not name must have its empty value; a key that this code has never heard
    of too. So a newer engine with a new power is refused until somebody has looked at it.
    """
    config = {key: value for key, value in body.items() if key != "HostConfig"}
    config["Labels"] = {**(image.get("Labels") or {}), **config.get("Labels", {})}
    got = dict(seen["Config"])
    for key in _FROM_IMAGE:
        if got.get(key) == image.get(key):
            got.pop(key, None)
    # The engine adds the image's intervals to a check that is off; off is what counts.
    got["Healthcheck"] = {"Test": (got.get("Healthcheck") or {}).get("Test")}

    host = dict(seen["HostConfig"])
    masked, readonly = host.pop("MaskedPaths", None), host.pop("ReadonlyPaths", None)
    asked = {key: value for key, value in body["HostConfig"].items() if key != "MaskedPaths"}

    found = [
        *_unequal("Config", config, got),
        *_unequal("HostConfig", asked, host),
        *_missing("MaskedPaths", body["HostConfig"]["MaskedPaths"], masked),
        *_missing("ReadonlyPaths", profile.readonly_paths, readonly),
        *_unequal("", {"Name": f"/{name}", "Image": body.get("Image")}, _part(seen, "Name", "Image")),
        *_unequal("", {"Mounts": _mounts(body)}, {"Mounts": _seen_mounts(seen)}),
    ]
    networks = sorted((seen.get("NetworkSettings") or {}).get("Networks") or {})
    if networks not in ([], ["none"]):
        found.append(f"Networks: {networks}")
    if seen.get("AppArmorProfile") == "unconfined":
        found.append("AppArmorProfile: unconfined")
    return found


def _value(entry: object, run: ActionRun) -> Any:
    if callable(entry):
        getter: Callable[[ActionRun], object] = entry
        return _value(getter(run), run)
    if isinstance(entry, Mapping):
        return {key: _value(value, run) for key, value in entry.items()}
    if isinstance(entry, tuple):
        return [_value(value, run) for value in entry]
    return entry


def _unequal(where: str, asked: Mapping[str, Any], got: Mapping[str, Any]) -> Iterable[str]:
    for key in sorted({*asked, *got}):
        wanted, seen = _plain(asked.get(key)), _plain(got.get(key))
        if wanted != seen:
            yield f"{where}.{key}: asked {wanted!r}, got {seen!r}".lstrip(".")


def _plain(value: Any) -> Any:
    """The value without empty parts: an engine writes null, "", 0, false, [] and {} as it likes."""
    if isinstance(value, Mapping):
        parts = {key: _plain(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part is not None} or None
    if isinstance(value, list):
        parts_of_list = [_plain(part) for part in value]
        return parts_of_list if any(part is not None for part in parts_of_list) else None
    return value or None


def _missing(what: str, wanted: Iterable[str], got: Iterable[str] | None) -> Iterable[str]:
    for path in sorted(set(wanted) - set(got or ())):
        yield f"HostConfig.{what}: {path} is open"


def _part(seen: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: seen.get(key) for key in keys}


def _mounts(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The mounts of the body as the engine reports them of a container, by their place inside."""
    asked = body["HostConfig"].get("Mounts", [])
    return sorted((_reported(mount) for mount in asked), key=_destination)


def _reported(mount: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Type": mount["Type"],
        "Source": mount["Source"],
        "Destination": mount["Target"],
        "RW": not mount.get("ReadOnly"),
        "Propagation": mount["BindOptions"]["Propagation"],
    }


def _seen_mounts(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Mode is how the engine labels a mount; the rest is compared.
    found = [{key: value for key, value in mount.items() if key != "Mode"} for mount in seen["Mounts"]]
    return sorted(found, key=_destination)  # the engine lists them in any order


def _destination(mount: Mapping[str, Any]) -> str:
    return str(mount.get("Destination"))
