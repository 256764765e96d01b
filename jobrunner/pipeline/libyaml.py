"""The event parser of libyaml; without it nothing here may run, as Python's own scanner reads otherwise."""

try:
    from yaml._yaml import CParser
except ImportError as error:
    raise ImportError(
        "jobrunner needs PyYAML built with libyaml, and this PyYAML has none. "
        "Install a binary wheel: pip install --only-binary=:all: --force-reinstall PyYAML"
    ) from error

__all__ = ["CParser"]
