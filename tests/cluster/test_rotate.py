"""`troth rotate` and `troth status` beside the operator, with the rights of their user."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests import builders
from tests.cluster.command import Command, Ended, begun, troth
from tests.cluster.person import Manifest, version
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of
from tests.cluster.test_expiry import MOMENT, time_of
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref

ROTATION = "CredentialRotation"
PROPAGATION = timedelta(minutes=3)
KEPT = {"every": "720h"}  # from a manifest under version control


async def opened_shop(stage: Stage) -> Ref:
    """Declare a ready identity in a ready trust domain."""
    domain = await stage.domain()
    await stage.run()
    payments = await stage.identity("payments")
    await stage.person.ready(IDENTITY, payments)
    await stage.person.ready(DOMAIN, domain)
    return payments


def of_payments(stage: Stage) -> Ref:
    return Ref(stage.shop, "payments-rotation")


def of_root(stage: Stage) -> Ref:
    return Ref(stage.own, f"{stage.name}-rotation")


def rotate(stage: Stage, *arguments: str) -> AbstractAsyncContextManager[Command]:
    """Run `troth rotate` for the shop's identity."""
    place = ("sid/payments", "-n", stage.shop)
    return begun(stage.sandbox.kubeconfig, "rotate", *place, *arguments)


def rotate_root(stage: Stage, *arguments: str) -> AbstractAsyncContextManager[Command]:
    place = (f"td/{stage.name}", "-n", stage.own)
    return begun(stage.sandbox.kubeconfig, "rotate", *place, *arguments)


async def requested(stage: Stage, ref: Ref, after: datetime | None = None) -> datetime:
    """Wait for a request, or for a later one; return its time."""

    def asks(found: Manifest) -> bool:
        text = found["spec"].get("requestedAt")
        return bool(text) and (after is None or time_of(text) > after)

    return time_of((await stage.person.sees(ROTATION, ref, asks))["spec"]["requestedAt"])


async def arrive(stage: Stage, moment: datetime) -> None:
    """Move the operator's clock to a time, unless it is past it."""
    await stage.clock.move_to(max(moment, stage.clock.now()))


async def live_on(stage: Stage, command: Command) -> Ended:
    """Let the operator's time pass until a command has ended."""
    ended = asyncio.create_task(command.ended())
    while not ended.done():
        await stage.later(PROPAGATION / 3)
        await asyncio.wait({ended}, timeout=0.2)
    return ended.result()


async def authorities(stage: Stage) -> list[str]:
    status = (await stage.person.the(DOMAIN, Ref("", stage.name)))["status"]
    return [each["fingerprint"] for each in status["authorities"]]


def ann(stage: Stage, *verbs: str) -> Path:
    """Return the kubeconfig of a user with only these rights on rotations in the shop."""
    kubectl = stage.sandbox.kubectl
    kubectl("create", "serviceaccount", "ann", "-n", stage.shop)
    if verbs:
        resource = "--resource=credentialrotations.troth.dev"
        listed = f"--verb={','.join(verbs)}"
        kubectl("create", "role", "ann", "-n", stage.shop, listed, resource)
        subject = f"--serviceaccount={stage.shop}:ann"
        kubectl("create", "rolebinding", "ann", "-n", stage.shop, "--role=ann", subject)
    return stage.sandbox.service_account_kubeconfig(stage.shop, "ann")


# Identities


async def test_rotate_now_replaces_a_certificate_and_ends_when_done(stage: Stage) -> None:
    payments = await opened_shop(stage)
    before = leaf_of(await stage.secret(payments))
    async with rotate(stage, "--now", "--watch") as command:
        moment = await requested(stage, of_payments(stage))
        await arrive(stage, moment)
        ended = await command.ended()
    assert ended.code == 0, ended.errors
    after = leaf_of(await stage.secret(payments))
    assert after.serial_number != before.serial_number
    assert after.public_key() != before.public_key()
    first, *_, last = ended.output.splitlines()
    asked = f"{ROTATION} {of_payments(stage)} rotates ServiceIdentity {payments} at {moment:%FT%TZ}"
    assert first == asked
    assert last == f"done: the credential in use was issued at {moment:%FT%TZ}"


async def test_rotate_does_not_end_before_the_new_certificate_exists(stage: Stage) -> None:
    await opened_shop(stage)
    async with rotate(stage, "--now", "--watch") as command:
        await requested(stage, of_payments(stage))
        await stage.person.ready(ROTATION, of_payments(stage))
        await stage.settled()
        assert command.process.returncode is None


async def test_without_now_nothing_changes_and_the_output_can_be_committed(
    stage: Stage,
) -> None:
    payments = await opened_shop(stage)
    await stage.settled()
    before = await stage.written()
    async with rotate(stage) as command:
        ended = await command.ended()
    assert ended.code == 0, ended.errors
    assert "nothing was changed; commit spec.requestedAt in a new" in ended.errors
    assert await stage.person.get(ROTATION, of_payments(stage)) is None
    await stage.settled()
    assert await stage.written() == before

    leaf = leaf_of(await stage.secret(payments))
    stage.sandbox.kubectl("apply", "-f", "-", stdin=ended.output)
    await arrive(stage, await requested(stage, of_payments(stage)))
    await stage.person.sees("Secret", secret_ref(payments), lambda seen: leaf_of(seen) != leaf)


async def test_manifest_under_version_control_and_command_do_not_interfere(
    stage: Stage,
) -> None:
    await opened_shop(stage)
    monthly = builders.rotation(namespace=stage.shop, name="monthly", **KEPT)
    await stage.person.put(monthly)
    place = Ref(stage.shop, "monthly")
    for _ in range(2):  # the second request must keep the fields that the first applied
        async with rotate(stage, "--now") as command:
            ended = await command.ended()
        assert ended.code == 0, ended.errors
        found = await stage.person.the(ROTATION, place)
        assert found["spec"]["every"] == "720h"
        await arrive(stage, await requested(stage, place))
    assert await stage.person.get(ROTATION, of_payments(stage)) is None

    before = await stage.person.the(ROTATION, place)
    await stage.person.put(monthly)
    after = await stage.person.the(ROTATION, place)
    assert after["spec"] == before["spec"]

    await stage.person.put({**monthly, "spec": {**monthly["spec"], **requested_fields(before)}})
    async with rotate(stage, "--now") as command:
        ended = await command.ended()
    assert ended.code == 2
    assert 'conflict with "person"' in ended.errors
    assert "spec.requestedAt has another owner: omit --now" in ended.errors


def requested_fields(rotation: Manifest) -> dict[str, str]:
    return {"requestedAt": rotation["spec"]["requestedAt"]}


async def test_two_concurrent_requests_both_complete(stage: Stage) -> None:
    await opened_shop(stage)
    async with rotate(stage, "--now", "-w") as one, rotate(stage, "--now", "-w") as other:
        both = asyncio.gather(one.ended(), other.ended())
        while not both.done():
            await stage.later(MOMENT)
            await asyncio.wait({both}, timeout=0.2)
    for ended in both.result():
        assert ended.code == 0, ended.errors


async def test_clock_behind_the_operators_loses_no_request(stage: Stage) -> None:
    payments = await opened_shop(stage)
    await stage.later(timedelta(hours=1))
    before = leaf_of(await stage.secret(payments))
    async with rotate(stage, "--now", "--watch") as command:  # also creates the rotation
        assert (await command.ended()).code == 0
    between = leaf_of(await stage.secret(payments))
    assert between != before
    first = await requested(stage, of_payments(stage))
    async with rotate(stage, "--now", "--watch") as command:
        await arrive(stage, await requested(stage, of_payments(stage), first))
        assert (await command.ended()).code == 0
    assert leaf_of(await stage.secret(payments)) != between


async def test_rotation_continues_after_ctrl_c(stage: Stage) -> None:
    payments = await opened_shop(stage)
    before = await stage.secret(payments)
    async with rotate(stage, "--now", "--watch") as command:
        moment = await requested(stage, of_payments(stage))
        await command.prints("rotates ServiceIdentity")
        command.process.send_signal(signal.SIGINT)
        ended = await command.ended()
    assert ended.code == 130
    assert "continues in the cluster; see troth status sid/payments" in ended.errors
    await arrive(stage, moment)
    await stage.person.sees(
        "Secret", secret_ref(payments), lambda seen: version(seen) != version(before)
    )


async def test_blocker_that_needs_a_user_ends_the_command_with_one_line(stage: Stage) -> None:
    await opened_shop(stage)
    twin = builders.identity("twin", stage.shop, account="payments")
    await stage.person.put(twin)
    await stage.person.hears(IDENTITY, Ref.of(twin), "Ready", "SharedIdentity", "False")
    async with rotate(stage, "--now", "--watch") as command:
        ended = await live_on(stage, command)
    assert ended.code == 1
    (line,) = ended.errors.splitlines()
    assert line.startswith("stopped: ")
    assert f"{stage.shop}/twin" in line


async def test_deleted_rotation_ends_the_command(stage: Stage) -> None:
    await opened_shop(stage)
    async with rotate(stage, "--now", "--watch") as command:
        await command.prints("Idle: ")
        await stage.person.delete(ROTATION, of_payments(stage))
        ended = await command.ended()
    assert ended.code == 1
    assert "was deleted" in ended.errors


@pytest.mark.long
async def test_api_server_outage_is_waited_for(lonely_stage: Stage) -> None:
    payments = await opened_shop(lonely_stage)
    before = leaf_of(await lonely_stage.secret(payments))
    async with rotate(lonely_stage, "--now", "--watch") as command:
        moment = await requested(lonely_stage, of_payments(lonely_stage))
        await lonely_stage.person.ready(ROTATION, of_payments(lonely_stage))
        await asyncio.to_thread(lonely_stage.sandbox.stop_api_server)
        await command.prints("cannot be reached; retrying")
        await asyncio.to_thread(lonely_stage.sandbox.start_api_server)
        await arrive(lonely_stage, moment)
        ended = await command.ended()
    assert ended.code == 0, ended.errors
    assert leaf_of(await lonely_stage.secret(payments)) != before


# RBAC


@pytest.mark.parametrize("verbs", [(), ("get", "list", "watch")])
async def test_user_without_the_right_gets_one_line(stage: Stage, verbs: tuple[str, ...]) -> None:
    await opened_shop(stage)
    ended = await troth(ann(stage, *verbs), "rotate", "sid/payments", "--now")
    assert ended.code == 2
    assert ended.output == ""
    (line,) = ended.errors.splitlines()
    assert 'User "system:serviceaccount:' in line
    assert "cannot" in line
    assert await stage.person.get(ROTATION, of_payments(stage)) is None


async def test_user_who_may_rotate_need_not_read_the_target(stage: Stage) -> None:
    await opened_shop(stage)
    rights = ("get", "list", "watch", "create", "patch")
    async with begun(ann(stage, *rights), "rotate", "sid/payments", "--now", "-w") as command:
        await arrive(stage, await requested(stage, of_payments(stage)))
        ended = await command.ended()
    assert ended.code == 0, ended.errors


async def test_missing_name_creates_no_rotation(stage: Stage) -> None:
    ended = await troth(
        stage.sandbox.kubeconfig, "rotate", "sid/paymnets", "-n", stage.shop, "--now"
    )
    assert ended.code == 2
    assert ended.errors == (
        f"ServiceIdentity {stage.shop}/paymnets: not found; see `troth status`\n"
    )
    assert await stage.person.all(ROTATION, stage.shop) == []


# Roots


async def test_rotate_now_replaces_a_root_and_shows_every_phase(stage: Stage) -> None:
    payments = await opened_shop(stage)
    (old,) = await authorities(stage)
    async with rotate_root(stage, "--now", "--watch") as command:
        await arrive(stage, await requested(stage, of_root(stage)))
        ended = await live_on(stage, command)
    assert ended.code == 0, ended.errors
    (new,) = await authorities(stage)
    assert new != old
    certificate = (await stage.person.ready(IDENTITY, payments))["status"]["certificate"]
    assert certificate["authority"] == new
    shown = [line.split()[1].rstrip(":") for line in ended.output.splitlines()[1:-1]]
    phases = ["Prepared", "Overlapping", "Retiring"]
    assert [each for each in shown if each in phases] == phases
    described = stage.sandbox.kubectl("describe", "trustdomain", stage.name)
    for reason in ("Preparing", "Distributing", "Activating", "Reissuing", "Retiring", "Completed"):
        assert f"Rotation{reason}" in described, described
    assert f"{new} signs from now on; {old} is still trusted" in described


@pytest.mark.long
async def test_root_rotation_requested_during_another_starts_after_it(stage: Stage) -> None:
    await opened_shop(stage)
    async with rotate_root(stage, "--now") as command:
        assert (await command.ended()).code == 0
    first = await requested(stage, of_root(stage))
    await arrive(stage, first)
    await stage.person.sees(DOMAIN, Ref("", stage.name), in_phase("Distributing"))
    _, on_its_way = await authorities(stage)
    late = first - datetime.now(first.tzinfo)  # the next second by the clock of this process
    await asyncio.sleep(late.total_seconds())
    async with rotate_root(stage, "--now", "--watch") as command:
        await requested(stage, of_root(stage), first)
        ended = await live_on(stage, command)
    assert ended.code == 0, ended.errors
    (last,) = await authorities(stage)
    assert last != on_its_way


def in_phase(phase: str) -> Callable[[Manifest], bool]:
    return lambda found: bool(found["status"]["rotation"]["phase"] == phase)


async def test_root_rotation_in_another_namespace_is_rejected_with_the_right_one(
    stage: Stage,
) -> None:
    await opened_shop(stage)
    arguments = ("rotate", f"td/{stage.name}", "-n", stage.shop, "--now", "--watch")
    async with begun(stage.sandbox.kubeconfig, *arguments) as command:
        ended = await live_on(stage, command)
    assert ended.code == 1
    assert f"create this CredentialRotation in namespace {stage.own}" in ended.errors


async def test_emergency_names_the_identities_that_it_breaks_and_requires_yes(stage: Stage) -> None:
    payments = await opened_shop(stage)
    await stage.settled()
    (old,) = await authorities(stage)
    async with rotate_root(stage, "--compromised", old, "--now") as command:
        ended = await command.ended()
    assert ended.code == 1
    assert f"  {payments}\n" in ended.errors
    assert "nothing was changed; add --yes" in ended.errors
    assert await stage.person.all(ROTATION, stage.own) == []

    async with rotate_root(stage, "--compromised", old, "--now", "--yes", "-w") as command:
        ended = await live_on(stage, command)
    assert ended.code == 0, ended.errors
    assert old not in await authorities(stage)
    described = stage.sandbox.kubectl("describe", "trustdomain", stage.name)
    assert f"{old} is revoked, and Troth did not wait for its users" in described


async def test_unknown_root_cannot_be_compromised(stage: Stage) -> None:
    await opened_shop(stage)
    (known,) = await authorities(stage)
    async with rotate_root(stage, "--compromised", "0" * 16, "--now", "--yes") as command:
        ended = await command.ended()
    assert ended.code == 2
    assert f"its roots are {known} (Active)" in ended.errors
