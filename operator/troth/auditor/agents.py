"""Traffic from the logs of the agents on nodes, read through the API server.

The API server authorizes the read, so the agents need no port and no rights.
"""

import asyncio
from collections.abc import Callable

from troth.audit.facts.traffic import Traffic
from troth.audit.scene import Scene
from troth.audit.traffic.agent_lines import (
    LOG_BYTES,
    LOG_LINES,
    is_agent,
    no_agent,
    read_agent_lines,
)
from troth.audit.traffic.attribution import MergedLogs, nodes_of, tenures_of
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError

MOST_PAIRS = 50_000
"""Maximum number of pairs of all nodes together; they take about 30 MB while they are read."""


class AgentLogs:
    """Reads the logs of all agents, one after the other."""

    def __init__(
        self,
        server: ApiServer,
        scene: Callable[[], Scene],
        namespace: str,
        most: int = MOST_PAIRS,
    ) -> None:
        """`scene` returns the current scene, which has all pods. `namespace` is the agents'.

        `most` is the maximum number of pairs of all nodes together.
        """
        self._most = most
        self._server = server
        self._scene = scene
        self._namespace = namespace

    async def traffic(self) -> Traffic:
        """Return the traffic that agents saw; `blind` names each log that cannot be read."""
        agents = [
            each
            for each in self._scene().pods_in(self._namespace)
            if is_agent(each, self._namespace)
        ]
        logs = MergedLogs(self._most)
        missing = [] if agents else [no_agent(self._namespace)]
        for pod in agents:
            try:
                raw = await self._server.log(pod.ref, last_lines=LOG_LINES, most_bytes=LOG_BYTES)
            except ApiError as error:
                why = f"{error.status} {error.reason}".strip()
                missing.append(f"node {pod.node}: the log of Pod {pod.ref} cannot be read ({why})")
                continue
            await asyncio.to_thread(_take, logs, raw, f"the log of Pod {pod.ref}")
        scene = self._scene()
        tenures, nodes = tenures_of(scene), nodes_of(scene)
        return await asyncio.to_thread(logs.traffic, tenures, missing, nodes)


def _take(logs: MergedLogs, raw: bytes, source: str) -> None:
    logs.take(read_agent_lines(raw.splitlines(), source))
