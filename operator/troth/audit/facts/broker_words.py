"""Words, keys and ports by which a Secret shows that it holds the credential of a broker."""

from collections.abc import Iterable

from troth.audit.facts.pods.pod_spec import Use
from troth.audit.facts.words import vocabulary, words

PORTS = frozenset({9092, 9093, 9094, 4222, 5671, 5672, 6379, 6380, 1883, 8883})
"""Ports at which Kafka, NATS, RabbitMQ, Redis, Valkey and MQTT brokers serve clients."""

_BROKERS = vocabulary(
    "kafka sasl nats nkey nkeys rabbitmq rabbit amqp amqps redis valkey mqtt redpanda"
)
_OTHERS = vocabulary(
    "postgres postgresql pg psql mysql mariadb mongo mongodb db database sql mssql oracle "
    "stripe github gitlab slack twilio s3 aws gcp azure minio smtp mail email ldap oidc "
    "oauth oauth2 jwt session cookie csrf grafana prometheus elastic elasticsearch opensearch "
    "vault registry docker openai sentry datadog newrelic license encryption hmac webhook "
    "signing ssh"
)
"""Words of systems that are no brokers."""
_PLAIN = vocabulary(
    "host hosts hostname port ports address addresses addr broker brokers server servers "
    "bootstrap endpoint endpoints topic topics group groupid subject stream queue exchange "
    "vhost db mechanism mechanisms protocol enabled tls ssl timeout prefix version client "
    "clientid namespace name region partitions replicas retention"
)
"""Words of settings that prove nothing, if one of them is the last."""
_PUBLIC = vocabulary("ca cacert cacerts truststore trust bundle crl")
_LOGIN = vocabulary(
    "user username login password passwd pass pwd secret token credential credentials creds"
)
_KEYS = frozenset({"sasl.jaas.config", "client.properties"})
_SUFFIXES = (".creds", ".nk", ".jaas")
_CERTIFICATES = vocabulary("crt cert pem p12 jks der")


def names_credential(use: Use, keys: Iterable[str]) -> bool:
    """Return whether a use reads the credential of a broker, by the names of everything.

    `keys` are the names of the Secret's keys, as far as they are known. They count if the use
    reads the whole Secret.
    """
    read = (use.key,) if use.key else tuple(keys)
    if read and all(is_public(key) for key in read):
        return False
    if any(key in _KEYS or key.endswith(_SUFFIXES) for key in read):
        return True
    variable = "" if use.variable == "*" else use.variable
    nearest = [each for each in (variable, use.key) if each]
    if any(_names_broker(each) for each in nearest):
        return not any(_is_setting(each) for each in nearest)
    if any(_names_other(each) or _is_setting(each) for each in nearest):
        return False
    if not use.key and any(_names_broker(key) and not _is_setting(key) for key in read):
        return True
    return _names_broker(use.name) and not _names_other(use.name) and not is_public(use.name)


def is_login(use: Use, keys: Iterable[str]) -> bool:
    """Return whether a use reads a login of which the names do not say for what."""
    read = (use.key,) if use.key else tuple(keys)
    variable = "" if use.variable == "*" else use.variable
    names = [each for each in (variable, use.name, *read) if each]
    if any(_names_other(each) for each in names):
        return False
    return any(not _LOGIN.isdisjoint(words(each)) for each in names)


def is_public(name: str) -> bool:
    """Return whether a name is that of roots that anybody may read, such as `ca.crt`."""
    found = [each for each in words(name) if each not in _CERTIFICATES]
    return "key" not in found and not _PUBLIC.isdisjoint(found)


def _names_broker(name: str) -> bool:
    found = _BROKERS.intersection(words(name))
    return bool(found) and (found != {"sasl"} or not _names_other(name))  # SASL is of mail too


def _names_other(name: str) -> bool:
    return not _OTHERS.isdisjoint(words(name))


def _is_setting(name: str) -> bool:
    found = words(name)
    return bool(found) and found[-1] in _PLAIN | _PUBLIC | _CERTIFICATES
