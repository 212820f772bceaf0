"""Renders a status report for a terminal."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from troth.cli.quoting import quoted
from troth.cli.status.models import (
    BrokerSummary,
    DomainSummary,
    EdgeSummary,
    IdentitySummary,
    PolicySummary,
    RotationSummary,
    Summary,
)
from troth.cli.status.overview_render import show_overview
from troth.cli.status.proofs import ProofSummary
from troth.cli.status.report import Report
from troth.cli.status.track import since, track, until
from troth.cli.status.webhook_models import EndpointSummary, WebhookKeySummary
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.schema.scalars import parse_moment
from troth.resources.schema.sentences import counted
from troth.resources.trust_domain.status import RotationPhase

S = TypeVar("S", bound=Summary)

_INDENT = (0, 0, 0, 2)
_TOKEN_PHASES = tuple(phase for phase in RotationPhase if phase is not RotationPhase.REISSUING)
"""Tokens are not reissued: they expire."""
_STATES = {"Active": "green", "Prepared": "cyan", "Retiring": "yellow", "Current": "green"}


def show(
    console: Console, report: Report, now: datetime, *, single: bool, whole: bool = False
) -> None:
    """Print a report, with its overview first.

    Unless `single`, identities, policies and webhooks are counted; only those that are not ready
    or have an exception from authentication are shown. With `whole`, which is for a whole cluster,
    only trust domains, brokers and rotations that are not ready or in progress are shown too, and
    nothing that the overview has already.
    """
    if report.overview is not None:
        show_overview(console, report.overview, now)
    if whole:
        _show_parts(
            console,
            [
                *(_domain(each, now) for each in report.trust_domains if _is_rotating(each)),
                *(
                    _rotation(each, now)
                    for each in report.credential_rotations
                    if each.phase != CredentialPhase.IDLE.value
                ),
            ],
            after=report.overview is not None,
        )
        return
    identities = {each: partial(_identity, each, now) for each in report.service_identities}
    policies = {each: partial(_policy, each) for each in report.topic_policies}
    endpoints = {each: partial(_endpoint, each, now) for each in report.webhook_endpoints}
    parts = [
        *(_domain(each, now) for each in report.trust_domains),
        *map(_broker, report.message_brokers),
        *(_rotation(each, now) for each in report.credential_rotations),
        *_many("ServiceIdentity", "ServiceIdentities", identities, single=single),
        *_many("TopicPolicy", "TopicPolicies", policies, single=single),
        *_many("WebhookEndpoint", "WebhookEndpoints", endpoints, single=single),
    ]
    _show_parts(console, parts, after=report.overview is not None)
    if not parts and report.overview is None:
        console.print("no resources found")


def _show_parts(console: Console, parts: list[RenderableType], *, after: bool) -> None:
    """Print parts with empty lines between them, and before them if something is above."""
    for position, part in enumerate(parts):
        if position or after:
            console.print()
        console.print(part)


def _is_rotating(domain: DomainSummary) -> bool:
    idle = RotationPhase.IDLE.value
    return domain.phase != idle or domain.token_phase != idle


def _domain(domain: DomainSummary, now: datetime) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for each in domain.authorities:
        expires = parse_moment(each.not_after)
        held = "" if each.certificates is None else _certificates(each.certificates)
        table.add_row(
            Text(each.fingerprint),
            Text(each.state, _STATES.get(each.state, "")),
            f"expires {expires:%Y-%m-%d} ({until(expires, now)})",
            held,
        )
    others = (
        [Text(f"{_certificates(domain.others)} of a removed authority", "yellow")]
        if domain.others
        else []
    )
    return _block(
        "TrustDomain",
        domain,
        [
            track(RotationPhase, domain.phase),
            *([table] if domain.authorities else []),
            *others,
            *_waits(domain.blockers),
            *_token_keys(domain),
        ],
    )


def _token_keys(domain: DomainSummary) -> Iterator[RenderableType]:
    """Yield the token signing keys, and their rotation if one is in progress."""
    if not domain.token_keys:
        return
    table = Table.grid(padding=(0, 2))
    for key in domain.token_keys:
        table.add_row(
            Text(key.fingerprint), Text(key.state, _STATES.get(key.state, "")), "token key"
        )
    if domain.token_phase != RotationPhase.IDLE.value:
        yield track(_TOKEN_PHASES, domain.token_phase)
    yield table
    yield from _waits(domain.token_blockers)


def _rotation(rotation: RotationSummary, now: datetime) -> RenderableType:
    facts = [f"rotates {rotation.target_kind} {rotation.target_name}"]
    if rotation.last_rotated:
        facts.append(f"last rotated {since(parse_moment(rotation.last_rotated), now)}")
    if rotation.next_rotation:
        facts.append(f"next rotation {until(parse_moment(rotation.next_rotation), now)}")
    if rotation.compromised:
        facts.append(f"revokes {rotation.compromised}")
    return _block(
        "CredentialRotation",
        rotation,
        [
            Text(", ".join(facts)),
            track(CredentialPhase, rotation.phase),
            *_waits(rotation.blockers),
        ],
    )


def _broker(broker: BrokerSummary) -> RenderableType:
    facts = [f"{broker.type}, mode {broker.mode}"]
    counts = (
        (broker.principals, "principals"),
        (broker.foreign_grants, "foreign rules"),
        (broker.missing_grants, "missing rules"),
        (broker.surplus_grants, "surplus rules"),
        (broker.braked_removals, "braked removals"),
    )
    facts += [f"{count} {what}" for count, what in counts if count is not None]
    return _block("MessageBroker", broker, [Text(", ".join(facts))])


def _policy(policy: PolicySummary) -> RenderableType:
    where = f"{policy.topic} at {policy.broker}"
    grants = f"{policy.grants} grants, {policy.in_sync} in sync"
    bare = [Text(quoted(policy.unvalidated), "yellow")] if policy.unvalidated else []
    return _block("TopicPolicy", policy, [Text(f"{where}: {grants}"), *bare])


def _endpoint(endpoint: EndpointSummary, now: datetime) -> RenderableType:
    way = f"{endpoint.scheme}, outbound"
    if endpoint.target:
        where = f"port {endpoint.port} of {endpoint.target}"
        way = f"{endpoint.scheme}, to {where}, workflow {endpoint.workflow}"
    table = Table.grid(padding=(0, 2))
    for key in endpoint.keys:
        table.add_row(
            Text(key.id, overflow="fold"),
            Text(key.fingerprint),
            Text(key.state, _STATES.get(key.state, "")),
            _use(key, now),
        )
    replay = endpoint.residual_replay
    return _block(
        "WebhookEndpoint",
        endpoint,
        [
            Text(way),
            Text(quoted(endpoint.url)),
            *_excepted(endpoint, "unsigned deliveries", now),
            *([table] if endpoint.keys else []),
            *([Text(quoted(f"residual replay: {replay}"))] if replay else []),
        ],
    )


def _use(key: WebhookKeySummary, now: datetime) -> str:
    used = "not used yet"
    if key.last_verified:
        used = f"last verified {since(parse_moment(key.last_verified), now)}"
    return f"{used}, can be removed {until(parse_moment(key.until), now)}" if key.until else used


def _many(
    one: str,
    many: str,
    summaries: Mapping[S, Callable[[], RenderableType]],
    *,
    single: bool,
) -> Iterator[RenderableType]:
    if single:
        yield from (made() for made in summaries.values())
        return
    unwell = [each for each in summaries if each.ready != "True"]
    shown = [each for each in summaries if each.deserves_a_look]
    if summaries:
        rest = f", {len(unwell)} of them not ready" if unwell else ", ready"
        yield Text(f"{len(summaries)} {one if len(summaries) == 1 else many}{rest}", "bold")
    yield from (summaries[each]() for each in shown)


def _identity(identity: IdentitySummary, now: datetime) -> RenderableType:
    lines: list[RenderableType] = []
    if identity.spiffe_id:
        lines.append(Text(identity.spiffe_id))
    certificate = identity.certificate
    if certificate is not None:
        expires = parse_moment(certificate.not_after)
        renewed = parse_moment(certificate.renew_at)
        lines.append(
            Text(
                f"certificate {certificate.fingerprint} of {certificate.authority}, "
                f"renewal {until(renewed, now)}, expires {until(expires, now)}"
            )
        )
    lines += _edges(identity.edges)
    lines += _proofs(identity.proofs, now)
    lines += _excepted(identity, "what its gateway has authenticated", now)
    return _block("ServiceIdentity", identity, lines)


def _edges(found: EdgeSummary | None) -> Iterator[Text]:
    """Yield the number of live edges, and each edge that is not live with what to do."""
    if found is None:
        return
    yield Text(counted(found.live, "live edge"))
    for each in found.closed:
        told = f"{each.what}  {each.reason}: {each.message}".removesuffix(": ")
        yield Text(quoted(told), "yellow")
    if found.unlisted:
        more = counted(found.unlisted, "more edge")
        yield Text(f"{more} not shown: no status that you may read lists them", "yellow")


def _proofs(found: ProofSummary | None, now: datetime) -> Iterator[Text]:
    """Yield how many proofs there are and how old, and what is not as declared."""
    if found is None:
        return
    counts = (
        f"proofs: {found.proven} Proven, {found.disproven} Disproven, "
        f"{found.inconclusive} Inconclusive; the oldest was made "
    )
    yield Text(counts + since(parse_moment(found.oldest), now))
    yield from (Text(f"disproven: {quoted(each)}", "red") for each in found.open)


def _excepted(summary: Summary, what: str, now: datetime) -> Iterator[Text]:
    """Yield a resource's exception from authentication: what it accepts, until when, and owner."""
    found = summary.excepted
    if found is None:
        return
    end = parse_moment(found.until)
    if end <= now:
        took = f"accepted {what} until {end:%Y-%m-%d} ({since(end, now)}); now rejects everything"
        yield Text(took, "red")
    elif found.holds:
        lasts = f"until {end:%Y-%m-%d} ({until(end, now)})"
        yield Text(f"accepts {what} {lasts}, owner {quoted(found.owner)}", "yellow")
    else:
        because = quoted(found.because or "Unvisited")
        yield Text(f"does not accept {what} as declared: {because}", "yellow")


def _block(kind: str, summary: Summary, lines: list[RenderableType]) -> RenderableType:
    title = Text.assemble((f"{kind} {summary.place}", "bold"), "  ", _verdict(summary))
    said = [Text(quoted(summary.message), "yellow")] if summary.ready != "True" else []
    return Group(title, *(Padding(each, _INDENT, expand=False) for each in [*lines, *said]))


def _verdict(summary: Summary) -> Text:
    if summary.ready == "True":
        return Text("ready", "green")
    return Text(f"not ready: {quoted(summary.reason)}", "red")


def _waits(blockers: tuple[str, ...]) -> Iterator[Text]:
    return (Text(quoted(f"waiting: {each}"), "yellow") for each in blockers)


def _certificates(count: int) -> str:
    return "1 certificate" if count == 1 else f"{count} certificates"
