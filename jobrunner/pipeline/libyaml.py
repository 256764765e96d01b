"""The event parser of libyaml, without which nothing here may run: Python's own YAML scanner reads other files."""

try:
    from yaml._yaml import CParser
except ImportError as error:
    raise ImportError(
        "jobrunner needs PyYAML built with libyaml, and this PyYAML has none. "
        "Install a binary wheel: pip install --only-binary=:all: --force-reinstall PyYAML"
    ) from error

__all__ = ["CParser"]
