"""A DNS server for a cluster's Services, in a pod: `<service>.<namespace>.svc.cluster.local`.

It asks the API server for each name, and knows no other domain.
"""

import json
import os
import socket
import ssl
import struct
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

DOMAIN = ["svc", "cluster", "local"]
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAME_ERROR, ADDRESS, INTERNET = 3, 1, 1
AUTHORITATIVE = 0x8580  # an answer, which recursion cannot improve
SECONDS = 5


def service(labels: list[str]) -> str:
    """Return the address of the Service with a name; empty if there is none."""
    if len(labels) != len(DOMAIN) + 2 or labels[2:] != DOMAIN:
        return ""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    url = f"https://{host}/api/v1/namespaces/{labels[1]}/services/{labels[0]}"
    token = (ACCOUNT / "token").read_text()
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    authorities = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    try:
        with urlopen(request, timeout=SECONDS, context=authorities) as found:
            address: str = json.load(found)["spec"]["clusterIP"]
            return address
    except HTTPError:
        return ""


def answer(query: bytes) -> bytes:
    """Return the answer to a query of one question (RFC 1035, section 4)."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    question = query[12 : at + 5]
    (kind,) = struct.unpack("!H", question[-4:-2])
    found = service(labels)
    records = b""
    if found and kind == ADDRESS:
        # the name is that of the question, and the record lives for a second
        records = struct.pack("!HHHIH", 0xC00C, ADDRESS, INTERNET, 1, 4) + socket.inet_aton(found)
    flags = AUTHORITATIVE | (0 if found else NAME_ERROR)
    return query[:2] + struct.pack("!5H", flags, 1, bool(records), 0, 0) + question + records


def main() -> None:
    """Serve until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", 53))
        while True:
            query, client = server.recvfrom(512)
            server.sendto(answer(query), client)


if __name__ == "__main__":
    main()
