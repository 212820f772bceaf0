"""Scalar types of a WebhookEndpoint: paths, URLs, headers and signed content."""

import re
from typing import Annotated

from pydantic import StringConstraints

from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import DNS_LABEL, PORT, matching

_HOST = rf"{DNS_LABEL}(\.{DNS_LABEL})+"
_SEGMENT = "[A-Za-z0-9._~-]+"
_DOTS = re.compile(r"/\.{1,2}(/|$)", re.ASCII)

TargetPath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    # with these characters a path has one spelling, so that every proxy reads it alike
    matching(
        f"^/({_SEGMENT}(/{_SEGMENT})*/?)?$",
        "write a path as segments of letters, digits and . _ ~ -, without a query, such as "
        "/events/stripe",
    ),
    Rule(
        cel="!self.matches('/[.]{1,2}(/|$)')",
        message="write the path without the segments . and ..",
        holds=lambda path: _DOTS.search(path) is None,
    ),
]
PublicURL = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    matching(
        rf"^https://{_HOST}(:{PORT})?(/[A-Za-z0-9._~%-]+)*/?$",
        "write the https URL that the sender uses, with a DNS name in lower case, without query "
        "or fragment, such as https://hooks.shop.example/shop/stripe-charges",
    ),
]
DestinationURL = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    matching(
        rf"^https://{_HOST}(:{PORT})?(/[A-Za-z0-9._~%-]+)*/?$",
        "write the destination as an https URL with a DNS name in lower case, without query or "
        "fragment, such as https://partner.example/hooks",
    ),
]
HeaderName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching(
        "^[A-Za-z0-9-]+$",
        "write a header name as letters, digits and '-', such as X-Signature",
    ),
]
SignaturePrefix = Annotated[
    str,
    StringConstraints(max_length=32),
    matching(
        "^[!-~]*$",
        "write the text before the signature as ASCII without spaces, such as sha256=",
    ),
]
_WHAT = ("{timestamp}", "{id}", "{method}", "{url}")
_NAMES = "|".join(each.strip("{}") for each in _WHAT)
_BETWEEN = r"[\n -z|~]"

SignedText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    # without text between the parts, two deliveries could have the same signed content
    matching(
        f"^{_BETWEEN}*([{{]({_NAMES})[}}]{_BETWEEN}+)*[{{]body[}}]$",
        "write the signed content with {body} at its end, and before it any of {timestamp}, {id}, "
        "{method} and {url} with ASCII text between them, such as {timestamp}.{body}",
    ),
    Rule(
        cel="!self.matches('[{]timestamp[}][0-9]')",
        message="remove the digit after {timestamp}; it could be read as part of the timestamp",
        holds=lambda text: re.search("[{]timestamp[}][0-9]", text, re.ASCII) is None,
    ),
    Rule(
        cel=f"[{', '.join(repr(each) for each in _WHAT)}].all(p, size(self.split(p)) <= 2)",
        message="write each of {timestamp}, {id}, {method} and {url} at most once",
        holds=lambda text: all(text.count(each) <= 1 for each in _WHAT),
    ),
]
CertificateSAN = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    matching(
        rf"^(URI:[a-z][a-z0-9+.-]*://[A-Za-z0-9._~:/-]+|DNS:{_HOST})$",
        "write a certificate name as URI: or DNS: and the name, such as DNS:client.sender.example",
    ),
]
CertificatesPEM = Annotated[
    str,
    StringConstraints(min_length=1, max_length=65536),
    Rule(
        cel="self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')",
        message="write certificates in PEM, without a private key",
        holds=lambda text: "-----BEGIN CERTIFICATE-----" in text and "PRIVATE KEY" not in text,
    ),
]
TopicARN = Annotated[
    str,
    StringConstraints(min_length=1, max_length=320),
    matching(
        "^arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$",
        "write the topic's ARN, such as arn:aws:sns:eu-central-1:123456789012:orders",
    ),
]
SignatureComponent = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    # RFC 9421, section 2; components with parameters would need a structure of their own
    matching(
        "^(@(method|target-uri|authority|scheme|request-target|path|query)|[a-z0-9-]+)$",
        "write a component as a header name in lower case, or as @authority or another derived one",
    ),
]
PublicKeyPin = Annotated[
    str,
    StringConstraints(min_length=1, max_length=51),
    matching(
        "^sha256/[A-Za-z0-9+/]{43}=$",
        "write a pin as sha256/ and the SHA-256 of the public key (SubjectPublicKeyInfo) in base64",
    ),
]
LARGEST_BODY = "16Mi"
"""Maximum size of a body in any scheme."""
_SIZE = re.compile("[1-9][0-9]{0,7}(Ki|Mi)?", re.ASCII)
_UNITS = {"Ki": 1024, "Mi": 1024 * 1024}


def size_in_bytes(text: str) -> int:
    """Return a size such as `256Ki` in bytes."""
    return int(text.rstrip("KMi")) * _UNITS.get(text[-2:], 1)


def is_size(expression: str) -> str:
    """Return the CEL of whether an expression is such a size."""
    return f"{expression}.matches('^{_SIZE.pattern}$')"


BodySize = Annotated[
    str,
    StringConstraints(min_length=1, max_length=10),
    matching(f"^{_SIZE.pattern}$", "write a size in bytes, Ki or Mi, such as 256Ki"),
    Rule(
        cel=f"!{is_size('self')} || quantity(self).compareTo(quantity('{LARGEST_BODY}')) <= 0",
        message=f"write a size of at most {LARGEST_BODY}",
        holds=lambda text: size_in_bytes(text) <= size_in_bytes(LARGEST_BODY),
    ),
]
