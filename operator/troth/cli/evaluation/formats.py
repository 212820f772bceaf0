"""Options about the report on manifests."""

from enum import StrEnum


class Format(StrEnum):
    """Output format of `troth check`."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    GITHUB = "github"
    GITLAB = "gitlab"


class FailOn(StrEnum):
    """Least severity of a finding that makes the exit code 1."""

    WARNING = "warning"
    ERROR = "error"
