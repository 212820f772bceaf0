"""The kernel's table of connections is read strictly."""

import pytest

from troth.audit.traffic.conntrack import (
    Connection,
    MalformedLineError,
    connection,
    own_addresses,
)

# as Linux 6.18 printed them
TCP = (
    "ipv4     2 tcp      6 117 TIME_WAIT src=10.78.0.5 dst=10.96.3.4 sport=43210 dport=443 "
    "src=10.78.0.7 dst=10.78.0.5 sport=8443 dport=43210 [ASSURED] mark=0 zone=0 use=2"
)
TCP6 = (
    "ipv6     10 tcp      6 431999 ESTABLISHED src=fd00:0000:0000:0000:0000:0000:0000:0005 "
    "dst=fd00:0000:0000:0000:0000:0000:0000:0007 sport=50000 dport=8443 "
    "src=fd00:0000:0000:0000:0000:0000:0000:0007 dst=fd00:0000:0000:0000:0000:0000:0000:0005 "
    "sport=8443 dport=50000 [ASSURED] mark=0 zone=0 use=2"
)
UDP = (
    "ipv4     2 udp      17 28 src=10.78.0.5 dst=10.78.0.9 sport=40000 dport=8125 [UNREPLIED] "
    "src=10.78.0.9 dst=10.78.0.5 sport=8125 dport=40000 mark=0 zone=0 use=2"
)
REFUSED = (
    "ipv4     2 tcp      6 118 SYN_SENT src=10.78.0.5 dst=10.78.0.9 sport=40000 dport=9999 "
    "[UNREPLIED] src=10.78.0.9 dst=10.78.0.5 sport=9999 dport=40000 mark=0 zone=0 use=2"
)
ICMP = (
    "ipv4     2 icmp     1 29 src=10.78.0.5 dst=10.78.0.9 type=8 code=0 id=5 "
    "src=10.78.0.9 dst=10.78.0.5 type=0 code=0 id=5 mark=0 zone=0 use=2"
)


def test_destination_is_the_one_after_translation() -> None:
    assert connection(TCP) == Connection("10.78.0.5", "10.78.0.7", 8443, "TCP", 43210)


def test_addresses_of_ipv6_are_in_their_shortest_form() -> None:
    assert connection(TCP6) == Connection("fd00::5", "fd00::7", 8443, "TCP", 50000)


def test_packet_without_an_answer_counts_for_udp_and_not_for_tcp() -> None:
    assert connection(UDP) == Connection("10.78.0.5", "10.78.0.9", 8125, "UDP", 40000)
    assert connection(REFUSED) is None


@pytest.mark.parametrize("flag", ["[OFFLOAD]", "[HW_OFFLOAD]"])
def test_offloaded_connection_has_neither_timeout_nor_state(flag: str) -> None:
    line = TCP.replace("117 TIME_WAIT ", "").replace("[ASSURED]", flag)
    assert connection(line) == connection(TCP)


def test_counters_and_zones_of_a_kernel_that_has_them_are_skipped() -> None:
    line = TCP.replace("dport=443 ", "dport=443 zone-orig=7 packets=6 bytes=900 ").replace(
        "dport=43210 [", "dport=43210 packets=4 bytes=800 ["
    )
    assert connection(line) == connection(TCP)


def test_protocol_without_ports_and_a_host_that_calls_itself_have_no_connection() -> None:
    assert connection(ICMP) is None
    assert connection(TCP.replace("10.78.0.7", "10.78.0.5")) is None
    assert connection(TCP.replace("10.78.0.5", "127.0.0.1").replace("10.78.0.7", "::1")) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ipv4",
        "tcp 6 117 ESTABLISHED src=10.0.0.1",
        TCP.replace("10.78.0.7", "10.78.0.777"),
        TCP.replace("sport=8443", "sport=99999"),
        TCP.replace("src=10.78.0.7 ", ""),
        TCP.replace("10.78.0.5", "\u0661\u0660.1.1.1"),
        f"{TCP}{' ' * 1024}",
        f"\0{TCP}",
        "ipv4     2 tcp      6 117 TIME_WAIT",
    ],
)
def test_line_that_the_kernel_does_not_write_is_malformed(line: str) -> None:
    with pytest.raises(MalformedLineError):
        connection(line)


def test_own_addresses_are_those_of_interfaces_without_loopback() -> None:
    trie = (
        "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
        "     |-- 192.0.2.0\n        /24 link UNICAST\n"
        "     |-- 192.0.2.2\n        /32 host LOCAL\n"
        "     |-- 192.0.2.255\n        /32 link BROADCAST\n"
    )
    six = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fd000000000000000000000000000002 02 40 00 80     eth0\nbroken\n"
        "fe800000000000000000000000000002 02 40 20 80     eth0\n"
    )
    assert own_addresses(trie, six) == ("192.0.2.2", "fd00::2")


def test_addresses_in_a_network_of_an_interface_come_before_those_of_services() -> None:
    services = "".join(f"     |-- 10.96.0.{n}\n        /32 host LOCAL\n" for n in range(3))
    trie = (
        f"Local:\n{services}"
        "     |-- 192.0.2.0\n        /32 link BROADCAST\n        /24 link UNICAST\n"
        "     |-- 192.0.2.2\n        /32 host LOCAL\n"
    )
    six = (
        "fd000000000000000000000000000001 03 80 00 80 kube-ipvs0\n"
        "fd000000000000000000000000000002 02 40 00 80     eth0\n"
    )
    own = own_addresses(trie, six)
    assert own == ("192.0.2.2", "fd00::2", "10.96.0.0", "10.96.0.1", "10.96.0.2", "fd00::1")
