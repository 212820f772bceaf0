"""Two API servers on one etcd, one of which lags: its caches are old while etcd does not answer it.

The operator reads from the one that lags and writes to the other, and changes between them. It may
learn late. But nothing opens again that was closed, and no write is repeated.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings

from sandbox.components import ETCD_SOCKET
from sandbox.faults import FaultyPath, Relay
from tests import builders
from tests.cluster.faults.store.routes import another_server, url_of
from tests.cluster.paths import faulty
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.cluster.witness import Witness, each_got_one_certificate, inbound_turns
from troth.planning.owned_objects import policy_ref

THOROUGH = settings.get_current_profile_name() == "thorough"
ROUNDS = 10 if THOROUGH else 1
LAGGING_SOCKET = "unix://lagging.sock:1"


@dataclass
class Servers:
    """Two API servers. The operator is behind a path to one or both of them."""

    path: FaultyPath
    etcd: Relay
    """The way from the lagging server to etcd."""
    prompt: str
    lagging: str

    def read_from(self, server: str) -> None:
        """Let the operator read from a server from now on; its watches break."""
        self.path.reads_from = server
        self.path.cut_all()


@asynccontextmanager
async def two_servers(stage: Stage, directory: Path) -> AsyncIterator[Servers]:
    home = stage.sandbox.directory
    here, there = (home / each.removeprefix("unix://") for each in (LAGGING_SOCKET, ETCD_SOCKET))
    async with (
        Relay(here, there) as etcd,
        another_server(stage, "lagging", etcd_socket=LAGGING_SOCKET) as port,
        faulty(stage, directory) as path,
    ):
        yield Servers(path, etcd, stage.sandbox.control_plane.server, url_of(port))
        etcd.resume()


async def test_operator_between_two_servers_flips_nothing(
    lonely_stage: Stage, tmp_path: Path
) -> None:
    stage = lonely_stage
    async with two_servers(stage, tmp_path) as servers:
        domain = await stage.domain()
        servers.path.reads_from = servers.lagging
        await stage.run(servers.path.kubeconfig)
        payments, web = await stage.pair()
        await stage.person.ready(DOMAIN, domain)
        await stage.settled()
        kubeconfig = stage.sandbox.kubeconfig
        async with (
            Witness(kubeconfig, "NetworkPolicy", stage.shop) as policies,
            Witness(kubeconfig, "Secret", stage.shop) as issued,
        ):
            for _ in range(ROUNDS):
                servers.etcd.pause()
                await stage.identity("payments", ports=["https"])  # accepts nobody any more
                stage.requests.clear()
                await stage.look_again(behind=True)
                assert stage.requests.writes.total() == 0, "it knows of nothing"

                servers.read_from(servers.prompt)
                await stage.closes(payments)
                await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
                await stage.settled()

                servers.read_from(servers.lagging)
                stage.requests.clear()
                await stage.look_again(behind=True)
                assert stage.requests.writes.total() == 0, "the other server is not ahead of it"
                accepted = [builders.accept("web")]
                await stage.identity("payments", ports=["https"], accepts=accepted)
                await stage.look_again(behind=True)
                assert stage.requests.writes.total() == 0, "it knows of nothing"

                servers.etcd.resume()
                await stage.person.hears(IDENTITY, web, "PeersAgree", "AllLive", "True")
                for ref in (payments, web):
                    await stage.person.ready(IDENTITY, ref)
                await stage.settled()
                stage.requests.clear()
                await stage.look_again()
                assert stage.requests.made == []
            seen = inbound_turns(await policies.everything(), policy_ref(payments).name)
            assert seen == [[], [8443]] * ROUNDS
            each_got_one_certificate(await issued.everything(), 2)
