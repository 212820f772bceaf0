"""The small universe of a random cluster: names, wished edges and grants, and the time.

Wishes are drawn first, and each side then usually declares its share. Sides drawn independently
would hardly ever name each other.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.net.clusters.draw import Draw
from tests.net.stage import START, Manifest

DOMAINS = ("red", "blue", "green")
NAMESPACES = ("north", "south", "east")
NAMES = ("a", "b", "c", "d")
HOOKS = "hooks"
PLACES = tuple((namespace, name) for namespace in NAMESPACES for name in NAMES)
PORTS: dict[str, Manifest] = {
    "web": {"name": "web", "port": 8080},
    "alt": {"name": "alt", "port": 8080, "protocol": "UDP"},
    "grpc": {"name": "grpc", "port": 9090},
    "hook": {"name": "hook", "port": 9443},
}
CIDRS = (
    "10.0.1.0/24",
    "10.0.0.0/16",
    "203.0.113.0/24",
    "10.0.1.7/32",
    "0.0.0.0/0",
    "2001:db8::/64",
)
SCOPES = ("read", "write", "admin")
APPS = ("a", "b", "c", "d", "other")
BROKERS = ("main", "other")
POLICIES = ("orders", "pays")
ENDPOINTS = ("charges", "pushes", "a.b")
ACCOUNT = f"A{'B' * 55}"
OPERATOR = f"O{'B' * 55}"
TOPICS: tuple[Manifest, ...] = (
    *({"name": "prod.orders"},) * 12,
    {"prefix": "prod.or"},
    {"prefix": "prod."},
    {"name": "stage.x"},
)
DEAD = ("prod.dead", "stage.dead", "prod.orders.x")
SCHEMAS: tuple[Manifest, ...] = (
    *({"jsonSchema": {"type": "object", "properties": {"id": {"type": "string"}}}},) * 8,
    *({"configMapRef": {"name": "schemas", "key": "orders.json"}},) * 3,
    {"jsonSchema": {"type": "nothing"}},
    {"jsonSchema": {"$ref": "https://elsewhere.example/schema.json"}},
    {"configMapRef": {"name": "schemas", "key": "missing.json"}},
)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SCHEMES = (
    *("StandardWebhooks", "StandardWebhooks", "StandardWebhooks", "GitHub", "GitLab"),
    *("Bitbucket", "Stripe", "Stripe", "Slack", "Shopify", "Twilio", "Paddle", "Square"),
    *("Discord", "SNS", "HMAC", "HTTPSignatures", "GitLabToken", "GitLabToken"),
)
ISSUED = frozenset(
    ("Stripe", "Slack", "Shopify", "Twilio", "Paddle", "Square", "Discord", "HTTPSignatures")
)
Place = tuple[str, str]


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def manifest(kind: str, name: str, namespace: str = "", **members: Any) -> Manifest:
    """Return an object of one of Troth's kinds."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "troth.dev/v1alpha1", "kind": kind, "metadata": metadata, **members}


def reference(place: Place, here: str = "") -> Manifest:
    namespace, name = place
    return {"name": name} | ({"namespace": namespace} if namespace != here else {})


@dataclass(frozen=True)
class DeclaredEdge:
    """One wished edge, and the sides that declare it."""

    caller: Place
    callee: Place
    ports: tuple[str, ...]
    called: bool
    accepted: bool


@dataclass(frozen=True)
class Use:
    """One wished grant for a topic, and the sides that declare it."""

    policy: Place
    identity: Place
    consumes: bool
    group: str
    policy_says: bool
    identity_says: bool


@dataclass
class Universe:
    """Data that the declarations of one cluster share."""

    draw: Draw
    wishes: list[DeclaredEdge] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    now: datetime = START
    parts: int = 0
    """Least number of wished grants."""
    restarted: float = 0.15
    """Probability that an identity has its workload restarted."""

    def __post_init__(self) -> None:
        self.wishes += [self._wish() for _ in range(2 + self.draw.below(3))]
        self.uses += [self._use() for _ in range(self.parts + self.draw.below(3))]

    def place(self) -> Place:
        return self.draw.pick((*("north", "north"), *NAMESPACES)), self.draw.pick(NAMES)

    def _wish(self) -> DeclaredEdge:
        draw = self.draw
        ports = tuple(draw.some(tuple(PORTS), 0.35))
        return DeclaredEdge(self.place(), self.place(), ports, draw.often(), draw.often())

    def _use(self) -> Use:
        draw = self.draw
        identity = self.place()
        policy = draw.pick(("north", "north", "north", "south")), draw.pick(POLICIES)
        group = draw.pick((*[f"of-{identity[1]}"] * 12, "g", ""))
        return Use(policy, identity, draw.half(), group, draw.often(), draw.often())
