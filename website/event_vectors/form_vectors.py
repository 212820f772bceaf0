"""Vectors of the sections Attributes and Headers."""

from collections.abc import Iterator

from website.event_vectors import scene
from website.event_vectors.events import Event, Vector, event, vector, with_data

ACCEPTED, MALFORMED, TOO_LARGE = "Accepted", "Malformed", "TooLarge"
UNICODE = 'Bäckerei "Zur 🥨" 5 %'


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    yield from _bindings()
    yield from _headers()
    yield from _nats_values()
    yield from _sizes()
    yield from _first_faults()
    yield from _texts()
    yield from _forms()


def _bindings() -> Iterator[Vector]:
    whole = event(
        subject="order/7", authtype="app_user", authid="customer-42", trothtenant=UNICODE,
        trothtxn="00000000-0000-0000-0000-000000000007",
    )  # fmt: skip
    for binding in ("Kafka", "NATS"):
        short = binding.lower()
        yield vector(f"{short}-plain", "a sealed event", ACCEPTED, binding=binding)
        yield vector(
            f"{short}-whole", "every optional attribute, Unicode", ACCEPTED, whole, binding=binding
        )
        yield vector(
            f"{short}-unsigned", "the seal is present", "Unsigned",
            event().edited(dssematerial=None), binding=binding,
        )  # fmt: skip
        yield vector(
            f"{short}-no-attributes", "the seal is present", "Unsigned",
            Event({}, scene.ORDER), binding=binding,
        )  # fmt: skip
        yield vector(
            f"{short}-empty-data", "data may have no bytes", ACCEPTED, with_data(b""),
            binding=binding, entry={"schemas": None},
        )  # fmt: skip
        yield vector(
            f"{short}-bytes", "data is any bytes", ACCEPTED,
            with_data(b"\x00\xff", datacontenttype="application/octet-stream"),
            binding=binding, entry={"schemas": None},
        )  # fmt: skip
    yield vector("kafka-tombstone", "a message without data", MALFORMED, data=None)
    yield vector("kafka-headers-in-nats", "the header of an attribute in NATS is ce-<name>",
                 MALFORMED, None, binding="Kafka").with_binding("NATS")  # fmt: skip
    yield vector("nats-headers-in-kafka", "the header of an attribute in Kafka is ce_<name>",
                 MALFORMED, None, binding="NATS").with_binding("Kafka")  # fmt: skip


def _headers() -> Iterator[Vector]:
    for binding, mark in (("Kafka", "_"), ("NATS", "-")):
        short, other = binding.lower(), "-" if mark == "_" else "_"
        prefix = f"ce{mark}"
        plain = vector("", "", MALFORMED, binding=binding)
        identifier = event().attributes["id"]

        def made(name: str, rule: str, plain: Vector = plain, short: str = short) -> Vector:
            return plain.named(f"{short}-{name}", rule)

        yield made("repeated", "a header of an attribute appears twice").with_headers(
            (f"{prefix}id", identifier)
        )
        yield made("empty", "a header of an attribute is empty").with_headers(
            (f"{prefix}subject", "")
        )
        spellings = {
            "upper-case": f"{prefix}ID",
            "upper-case-prefix": f"CE{mark}id",
            "other-mark": f"ce{other}id",
            "space-before": f" {prefix}id",
            "space-after": f"{prefix}id ",
        }
        for name, header in spellings.items():
            rule = "a header of an attribute is spelled differently"
            yield made(f"spelled-{name}", rule).with_headers((header, identifier))
            yield made(f"only-{name}", rule).with_headers(
                (header, identifier), without=f"{prefix}id"
            )
        names = {
            "no-name": prefix,
            "long-name": f"{prefix}{'a' * 21}",
            "underscore-in-name": f"{prefix}troth_tenant",
            "umlaut-in-name": f"{prefix}größe",
        }
        for name, header in names.items():
            yield made(name, "a header goes on with something that is no name").with_headers(
                (header, "1")
            )
        ignored = vector(
            f"{short}-other-headers", "other headers are ignored, repeated ones too", ACCEPTED,
            binding=binding,
        )  # fmt: skip
        yield ignored.with_headers(("traceparent", "00-1"), ("x", "1"), ("x", ""), ("cell", "2"))
        yield vector(
            f"{short}-unsigned-attribute", "an attribute that no seal covers is ignored", ACCEPTED,
            binding=binding,
        ).with_headers((f"{prefix}{'a' * 20}", "1"))  # fmt: skip
    text = "text/plain"
    yield vector("kafka-null-header", "a header of an attribute is empty", MALFORMED).with_headers(
        ("ce_subject", None)
    )
    yield vector("kafka-ce-datacontenttype", "ce_datacontenttype in Kafka", MALFORMED).with_headers(
        ("ce_datacontenttype", text)
    )
    for name in ("Content-Type", "content_type", "content-type"):
        yield vector(
            f"kafka-second-{name}", "a header of an attribute twice or otherwise spelled", MALFORMED
        ).with_headers((name, text))
    yield vector(
        "kafka-not-utf-8", "a value that is not UTF-8", MALFORMED
    ).with_headers(("ce_subject", {"base64": "/w=="}))  # fmt: skip
    for name in ("Content-Type", "content-type"):
        yield vector(
            f"nats-{name}", "content-type is another header in NATS", ACCEPTED, binding="NATS"
        ).with_headers((name, text))


def _nats_values() -> Iterator[Vector]:
    values = {
        "space": "a b",
        "quote": 'a"b',
        "percent": "50%",
        "percent-at-the-end": "50%4",
        "lower-case-digits": "%c3%a4",
        "encoded-letter": "%41",
        "raw-unicode": "ä",
        "quoted-string": '"a"',
        "not-utf-8": "%FF",
        "overlong": "%C0%A0",
        "surrogate": "%ED%A0%80",
        "sign-for-digits": "%+1",
    }
    for name, value in values.items():
        yield vector(
            f"nats-value-{name}", "a value that is not percent-encoded as specified", MALFORMED,
            binding="NATS",
        ).with_headers(("ce-subject", value))  # fmt: skip
    yield vector(
        "nats-value-plus", "nothing else is percent-encoded", ACCEPTED,
        event(subject="a+b/~'&=c"), binding="NATS",
    )  # fmt: skip


def _sizes() -> Iterator[Vector]:
    count = len(event().attributes)
    for short, prefix, binding in (("kafka", "ce_", "Kafka"), ("nats", "ce-", "NATS")):
        for extra, verdict in ((0, ACCEPTED), (1, TOO_LARGE)):
            plain = vector("", "", verdict, binding=binding)
            size = f"{'most' if verdict == ACCEPTED else 'too-many'}"
            yield plain.named(
                f"{short}-{size}-headers", "at most 256 headers", otherHeaders=256 - count + extra
            )
            many = [(f"{prefix}a{i}", "1") for i in range(64 - count + extra)]
            yield plain.named(
                f"{short}-{size}-attributes", "at most 64 attributes"
            ).with_headers(*many)  # fmt: skip
            long = {"repeat": "x", "times": 1024 + extra}
            yield plain.named(
                f"{short}-{size}-characters", "a value of an attribute has at most 1,024 characters"
            ).with_headers((f"{prefix}other", long))
    yield vector(
        "kafka-most-characters-of-four-bytes", "characters are counted, not bytes", ACCEPTED
    ).with_headers(("ce_other", {"repeat": "🥨", "times": 1024}))
    plain = vector("", "", ACCEPTED)
    used = sum(len(name) + len(str(value)) for name, value in plain.headers)
    for extra, verdict in ((0, ACCEPTED), (1, TOO_LARGE)):
        filler = {"repeat": "x", "times": 512 * 1024 - used - 1 + extra}
        yield vector(
            f"kafka-{'most' if verdict == ACCEPTED else 'too-many'}-bytes-of-headers",
            "at most 512 KiB of headers, names and values", verdict,
        ).with_headers(("x", filler))  # fmt: skip
        data = b"x" * (1024 * 1024 + extra)
        yield vector(
            f"{'most' if verdict == ACCEPTED else 'too-much'}-data", "at most 1 MiB of data",
            verdict, with_data(data, datacontenttype="text/plain"),
            data={"repeat": "x", "times": len(data)}, entry={"schemas": None},
        )  # fmt: skip
    for name, most in {
        "source": 2048,
        "dataschema": 2048,
        "dssematerial": 8192,
        "trothtxntoken": 8192,
        "trothchain": 16384,
        "trothorigin": 8192,
        "trothheaders": 262144,
    }.items():
        for extra, verdict in ((0, "Unsigned"), (1, TOO_LARGE)):
            unsigned = vector("", "", verdict, event().edited(dssematerial=None))
            if name == "dssematerial" and not extra:
                unsigned = vector("", "", MALFORMED)
            yield unsigned.named(
                f"{'most' if not extra else 'too-many'}-characters-of-{name}",
                f"{name} has at most {most:,} characters",
            ).with_headers(
                (f"ce_{name}", {"repeat": "A", "times": most + extra}), without=f"ce_{name}"
            )


def _first_faults() -> Iterator[Vector]:
    rule = "the first fault in the order of the headers"
    spare = 64 - len(event().attributes)
    many = [(f"ce_a{i}", "1") for i in range(spare + 1)]
    yield vector(
        "first-empty-then-too-many-headers", rule, MALFORMED, otherHeaders=256
    ).with_headers(("ce_id", ""), without="ce_id")
    yield vector("first-too-many-bytes-then-empty", rule, TOO_LARGE).with_headers(
        ("x", {"repeat": "x", "times": 600_000}), ("ce_id", ""), without="ce_id"
    )
    yield vector("first-too-many-attributes-then-spelling", rule, TOO_LARGE).with_headers(
        *many, ("CE_id", "7")
    )
    yield vector("first-spelling-then-too-many-attributes", rule, MALFORMED).with_headers(
        ("CE_id", "7"), *many
    )


def _texts() -> Iterator[Vector]:
    texts = {
        "256-characters": ("🥨" * 256, ACCEPTED),
        "257-characters": ("x" * 257, MALFORMED),
        "spaces": (" two  words ", ACCEPTED),
        "line-break": ("a\nb", MALFORMED),
        "tab": ("a\tb", MALFORMED),
        "delete": ("a\x7fb", MALFORMED),
        "no-break-space": ("a\u00a0b", MALFORMED),
        "line-separator": ("a\u2028b", MALFORMED),
        "direction-override": ("a\u202eb", MALFORMED),
        "zero-width-joiner": ("a\u200db", MALFORMED),
        "private-use": ("a\ue000b", MALFORMED),
        "unassigned": ("a\u0378b", MALFORMED),
        "combining-mark": ("a\u0301", ACCEPTED),
    }
    for name, (text, verdict) in texts.items():
        yield vector(
            f"text-{name}", "a text has 1 to 256 characters, none of C and Z but the space",
            verdict, event(trothtenant=text),
        )  # fmt: skip
    for name in ("id", "subject", "authtype", "authid", "trothtxn"):
        yield vector(f"text-{name}", f"{name} is a text", MALFORMED, event(**{name: "a\u200bb"}))


def _forms() -> Iterator[Vector]:
    for name in (
        "id", "source", "specversion", "type", "datacontenttype", "time", "trothpolicy",
        "trothbroker", "trothtopic", "trothenvironment", "trothchain",
    ):  # fmt: skip
        yield vector(f"without-{name}", f"{name} is required", MALFORMED, event(**{name: None}))
    valid = {
        "id-of-its-own": ("id", "order-7"),
        "type-characters": ("type", "Aa0._:/-"),
        "type-longest": ("type", "t" * 256),
        "media-type-suffix": ("datacontenttype", "application/vnd.shop.order+json"),
        "media-type-parameters": ("datacontenttype", "text/plain; charset=utf-8;a=1;b=2; c=3"),
        "media-type-longest": ("datacontenttype", f"{'a' * 127}/{'b' * 127}"),
        "media-type-cloudevents-elsewhere": ("datacontenttype", "text/cloudevents"),
    }
    for rule, (name, value) in valid.items():
        yield vector(rule, f"form of {name}", ACCEPTED, event(**{name: value}))
    invalid = {
        "specversion-0.3": ("specversion", "0.3"),
        "specversion-1": ("specversion", "1"),
        "type-space": ("type", "two words"),
        "type-too-long": ("type", "t" * 257),
        "type-umlaut": ("type", "größe"),
        "media-type-without-slash": ("datacontenttype", "json"),
        "media-type-structured": ("datacontenttype", "application/cloudevents+json"),
        "media-type-structured-in-capitals": ("datacontenttype", "Application/CloudEvents"),
        "media-type-two-spaces": ("datacontenttype", "text/plain;  charset=utf-8"),
        "media-type-space-before": ("datacontenttype", "text/plain ;charset=utf-8"),
        "media-type-quoted": ("datacontenttype", 'text/plain; charset="utf-8"'),
        "media-type-five-parameters": ("datacontenttype", "text/plain;a=1;b=2;c=3;d=4;e=5"),
        "media-type-too-long": ("datacontenttype", f"{'a' * 128}/plain"),
        "media-type-dot-first": ("datacontenttype", ".a/plain"),
        "source-no-uri": ("source", "checkout"),
        "source-without-path": ("source", "spiffe://prod.shop.example"),
        "source-slash-at-the-end": ("source", f"{scene.CHECKOUT}/"),
        "source-upper-case-domain": ("source", "spiffe://PROD.shop.example/ns/shop/sa/checkout"),
        "source-dots": ("source", f"{scene.CHECKOUT}/.."),
        "source-encoded": ("source", "spiffe://prod.shop.example/ns/shop/sa/%63heckout"),
        "time-fraction": ("time", "2026-11-28T12:00:00.0Z"),
        "time-comma": ("time", "2026-11-28T12:00:00,5Z"),
        "time-offset": ("time", "2026-11-28T12:00:00+00:00"),
        "time-lower-case": ("time", "2026-11-28t12:00:00z"),
        "time-space": ("time", "2026-11-28 12:00:00Z"),
        "time-no-day": ("time", "2026-11-31T12:00:00Z"),
        "time-no-leap-day": ("time", "2026-02-29T12:00:00Z"),
        "time-leap-second": ("time", "2026-11-28T11:59:60Z"),
        "time-24": ("time", "2026-11-27T24:00:00Z"),
        "time-before-1970": ("time", "1969-12-31T23:59:59Z"),
        "time-arabic-digits": ("time", "٢٠٢٦-11-28T12:00:00Z"),
    }
    for rule, (name, value) in invalid.items():
        yield vector(rule, f"form of {name}", MALFORMED, event(**{name: value}))
