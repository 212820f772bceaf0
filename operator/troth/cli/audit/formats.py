"""Options about the output of an audit, and its exit code."""

from enum import StrEnum


class Format(StrEnum):
    """Output format of `troth audit`."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    MARKDOWN = "markdown"
    SARIF = "sarif"


class FailOn(StrEnum):
    """Least severity of a finding that makes the exit code 1."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
