"""Namespaces that Troth's programs run in, and the options that name them."""

from typing import Annotated

import typer

AGENT_NAMESPACE = "troth-agent"
AgentNamespace = Annotated[
    str, typer.Option("--agent-namespace", help="Namespace that the node agents run in.")
]
OwnNamespace = Annotated[str, typer.Option("--own-namespace", help="Namespace that Troth runs in.")]

OWN_NAMESPACE = "troth-system"
"""Namespace that Troth runs in unless an option says otherwise."""
