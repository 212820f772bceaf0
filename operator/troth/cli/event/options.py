"""Options of `troth event`: the mounted identity, the policy, and the message."""

from pathlib import Path
from typing import Annotated

import typer

IDENTITY_MOUNT = Path("/var/run/troth/identity")
BUNDLE_MOUNT = Path("/var/run/troth/bundle")
SCHEMAS_MOUNT = Path("/var/run/troth/schemas")
CREDENTIALS_MOUNT = Path("/var/run/broker")

MessageFile = Annotated[
    str,
    typer.Argument(
        metavar="[-|FILE]",
        show_default=False,
        help="Message as JSON, as `seal` prints it: standard input or a file.",
    ),
]
DataFile = Annotated[
    str,
    typer.Argument(
        metavar="[-|FILE]", show_default=False, help="Data of the event: standard input or a file."
    ),
]
IdentityMount = Annotated[
    Path,
    typer.Option(
        "--identity", help="Folder with the files of an identity, such as the mount of its Secret."
    ),
]
BundleMount = Annotated[
    Path, typer.Option("--bundle", help="Folder with bundle-map.json, such as its mount.")
]
SchemasMount = Annotated[
    Path,
    typer.Option(
        "--schemas", help="Folder with the schemas that are not in identity.json, if there is one."
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAMESPACE/NAME",
        help="TopicPolicy. Defaults to the one of the topic in identity.json.",
    ),
]
Group = Annotated[
    str | None,
    typer.Option("--group", help="Consumer group, if the identity has several by the policy."),
]
Credentials = Annotated[
    Path,
    typer.Option(
        "--credentials",
        help="Folder with a credential at the broker, such as the mount of its Secret; or a file "
        "with properties of librdkafka.",
    ),
]
Payload = Annotated[
    bool, typer.Option("--payload", help="Show the data too, which may be confidential.")
]
