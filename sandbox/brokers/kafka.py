"""A real Kafka server on the loopback interface: KRaft, one node, all listeners over TLS.

The listener `ADMIN` authenticates clients by certificate, `CLIENTS` by SCRAM. The optional listener
`IDENTITIES` accepts certificates of other authorities, which `ADMIN` rejects. Except for the
administrator and the server itself, every principal needs an ACL.
"""

import base64
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sandbox.brokers.kafka_jars import ensure_kafka
from sandbox.certificates import Authority, KeyPair, owner_only
from sandbox.components import LOOPBACK
from sandbox.control_plane import free_port, on_free_ports
from sandbox.processes import Tether
from sandbox.running import run_quietly
from sandbox.serving import await_serving

READY_SECONDS = 180.0
GRACE_SECONDS = 15.0
STARTED = "Kafka Server started"

ADMINISTRATOR = "troth-admin"
SERVER = "kafka"
"""Name of the server's own principal: it connects to itself as a client."""

_PROTOCOLS = {"CONTROLLER": "SSL", "ADMIN": "SSL", "CLIENTS": "SASL_SSL", "IDENTITIES": "SSL"}

SMALL = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = INFO
"""


@dataclass(frozen=True, slots=True)
class Identities:
    """Certificates that the listener `IDENTITIES` accepts.

    `roots` is the trust bundle (PEM). `rule` maps a certificate's subject to a principal
    (`ssl.principal.mapping.rules`).
    """

    roots: bytes
    rule: str


class KafkaServer:
    """A Kafka server in a directory; its process ends with this one.

    `authority` issues the certificates that the listener `ADMIN` accepts. `administrator` is the
    certificate of the only super user. `session` is the time in seconds after which a client at
    `CLIENTS` must authenticate again (`connections.max.reauth.ms`).
    """

    def __init__(
        self,
        tether: Tether,
        directory: Path,
        *,
        session: float,
        identities: Identities | None,
        listeners: Mapping[str, str],
        properties: Mapping[str, str],
    ) -> None:
        self._jars = ensure_kafka()
        self._tether = tether
        self._directory = directory
        self._session = session
        self._identities = identities
        self._pid = 0
        self.authority = Authority(directory)
        self.administrator = self.authority.client("administrator", user=ADMINISTRATOR)
        self._properties_given = dict(properties)
        self._protocols = {**_PROTOCOLS, **listeners}
        self._ports = {"CONTROLLER": 0, "ADMIN": 0, "CLIENTS": 0, **dict.fromkeys(listeners, 0)}
        if identities:
            self._ports["IDENTITIES"] = 0
            self._roots.write_bytes(identities.roots)
        server = self.authority.server(
            SERVER, addresses=[LOOPBACK], dns_names=["localhost"], peer=True
        )
        _write_keystore(directory / "keystore.pem", server)
        (directory / "log4j2.properties").write_text(LOGGING)

    @classmethod
    @contextmanager
    def start(
        cls,
        *,
        session: float = 2.0,
        identities: Identities | None = None,
        listeners: Mapping[str, str] = MappingProxyType({}),
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Self]:
        """Start a server, and stop it when the context ends. Fetch Kafka first if necessary.

        `listeners` are more listeners, each with its security protocol, and `properties` more of
        the server's configuration, where an empty value leaves one out. Raises `SandboxError` if
        the machine lacks Java or Maven, or if the server does not start.
        """
        ensure_kafka()
        directory = Path(tempfile.mkdtemp(prefix="troth-kafka-"))
        with Tether(directory) as tether:
            server = cls(
                tether,
                directory,
                session=session,
                identities=identities,
                listeners=listeners,
                properties=properties,
            )
            server.start_on_free_ports()
            yield server

    @property
    def version(self) -> str:
        """Version of the server."""
        (jar,) = self._jars.glob("kafka_*-*.jar")
        return jar.stem.rpartition("-")[2]

    @property
    def admin_address(self) -> str:
        """Address of the listener for administrators with certificates, as `host:port`."""
        return f"{LOOPBACK}:{self._ports['ADMIN']}"

    @property
    def client_address(self) -> str:
        """Address of the SCRAM listener, as `host:port`."""
        return f"{LOOPBACK}:{self._ports['CLIENTS']}"

    @property
    def identity_address(self) -> str:
        """Address of the listener for certificates of identities, as `host:port`."""
        return f"{LOOPBACK}:{self._ports['IDENTITIES']}"

    def admin_secret(self) -> dict[str, str]:
        """Return the data of a Secret with which Troth administers the server at `ADMIN`."""
        return {
            "tls.crt": self.administrator.certificate.read_text(),
            "tls.key": self.administrator.key.read_text(),
            "bootstrap.servers": self.admin_address,
        }

    def ca_secret(self) -> dict[str, str]:
        """Return the data of a Secret with the server's CA."""
        return {"ca.crt": self.authority.certificate.read_text()}

    def start_on_free_ports(self) -> None:
        """Start the server for the first time and wait until it serves; raises `ComponentError`."""

        def start() -> None:
            self._ports = {name: free_port() for name in self._ports}
            self._format()
            self.resume()

        on_free_ports(start)

    def resume(self) -> None:
        """Start the server again on the same ports with its data, and wait until it serves."""
        log = self._directory / "kafka.log"
        begin = log.stat().st_size if log.exists() else 0
        command = self._java("kafka.Kafka", self._configuration)
        self._pid = self._tether.start("kafka", command, log=log)
        await_serving(
            self._tether,
            "kafka",
            lambda: STARTED.encode() in log.read_bytes()[begin:],
            log=log,
            seconds=READY_SECONDS,
        )

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """Stop the server and keep its data. `grace=0` kills it, as a crash would."""
        self._tether.stop("kafka", grace=grace)
        self._pid = 0

    @property
    def runs(self) -> bool:
        """Whether the server runs."""
        return bool(self._pid)

    def freeze(self) -> None:
        """Pause the server: its connections stay open, and it answers no request."""
        os.kill(self._pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Resume the server after `freeze`."""
        os.kill(self._pid, signal.SIGCONT)

    @property
    def records(self) -> bytes:
        """Return the metadata log from the disk."""
        (log,) = self._data.glob("__cluster_metadata-0/*.log")
        return log.read_bytes()

    @property
    def _data(self) -> Path:
        return self._directory / f"data-{self._ports['ADMIN']}"

    @property
    def _configuration(self) -> Path:
        return self._directory / "server.properties"

    @property
    def _roots(self) -> Path:
        return self._directory / "identities.crt"

    def _format(self) -> None:
        properties = {**self._properties(), **self._properties_given}
        lines = (f"{key}={value}\n" for key, value in properties.items() if value != "")
        self._configuration.write_text("".join(lines))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = self._java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c")
        run_quietly(self._tether, [*tool, self._configuration], what="Kafka's storage")

    def _java(self, main: str, *arguments: str | Path) -> list[str | Path]:
        logging = f"-Dlog4j2.configurationFile={self._directory / 'log4j2.properties'}"
        return ["java", *SMALL, logging, "-cp", f"{self._jars}/*", main, *arguments]

    def _of_identities(self, identities: Identities) -> dict[str, object]:
        listener = "listener.name.identities"
        return {
            f"{listener}.ssl.truststore.location": self._roots,
            f"{listener}.ssl.principal.mapping.rules": identities.rule,
        }

    def _properties(self) -> dict[str, object]:
        at = {listener: f"{LOOPBACK}:{port}" for listener, port in self._ports.items()}
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{at['CONTROLLER']}",
            "listeners": ",".join(f"{listener}://{address}" for listener, address in at.items()),
            "advertised.listeners": ",".join(
                f"{listener}://{address}"
                for listener, address in at.items()
                if listener != "CONTROLLER"
            ),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "ADMIN",
            "listener.security.protocol.map": ",".join(
                f"{listener}:{self._protocols[listener]}" for listener in at
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._directory / "keystore.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.certificate,
            "ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([a-zA-Z0-9._-]+)$/$1/,DEFAULT",
            "listener.name.clients.ssl.client.auth": "none",
            "listener.name.clients.connections.max.reauth.ms": int(self._session * 1000),
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.clients.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMINISTRATOR};User:{SERVER}",
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            "log.dirs": self._data,
            # A short-lived cluster of one node: waiting for replicas or for larger batches gains
            # nothing.
            "controller.quorum.append.linger.ms": 0,
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,  # 128 MiB would be half of the heap
            "broker.session.timeout.ms": 3000,  # minimum time before a crashed broker rejoins
            "broker.heartbeat.interval.ms": 500,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            **(self._of_identities(self._identities) if self._identities else {}),
        }


def _write_keystore(path: Path, pair: KeyPair) -> None:
    """Write key and certificate to one file, the key in the only format that Java reads."""
    key = load_pem_private_key(pair.key.read_bytes(), password=None)
    with open(path, "wb", opener=owner_only) as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.write(pair.certificate.read_bytes())
