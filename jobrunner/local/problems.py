"""What ends a local run before anything ran."""

from jobrunner.pipeline import Problem


class LocalProblem(Exception):
    """`word` is one of a closed list for programs, `message` says what is wrong and what to do.

    Words: no_study, pipeline_invalid, request_invalid, tree_refused, engine, image_missing, no_dummy_data,
    not_supported, reusable, busy, state.
    """

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word
        self.message = message


class PipelineInvalid(LocalProblem):
    """The project.yaml has errors: `data` is its text, of which no more than the limit was read."""

    def __init__(self, problems: tuple[Problem, ...], data: bytes) -> None:
        super().__init__("pipeline_invalid", "project.yaml has errors, so nothing was run:")
        self.problems = problems
        self.data = data
