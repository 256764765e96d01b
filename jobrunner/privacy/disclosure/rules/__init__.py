"""Every rule of the engine, by id. A rule is one module with one function that meets `Rule`."""

from collections.abc import Mapping

from jobrunner.privacy.disclosure.rules import (
    active_pictures,
    file_types,
    identifier_names,
    identifier_values,
    row_level,
    serialised,
    sizes,
)
from jobrunner.privacy.disclosure.rules.rule import Rule

RULES: Mapping[str, Rule] = {
    "SDC020": row_level.check,
    "SDC021": identifier_names.check,
    "SDC022": identifier_values.check,
    "SDC030": file_types.check,
    "SDC031": sizes.check,
    "SDC032": serialised.check,
    "SDC033": active_pictures.check,
}
