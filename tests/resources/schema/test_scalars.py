"""Durations, times, networks and names."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from troth.resources.schema.scalars import (
    CIDR,
    DNSName,
    Duration,
    format_duration,
    format_time,
    parse_duration,
)

seconds = st.integers(1, 999_999 * 3600)


@given(seconds)
def test_duration_survives_a_round_trip(length: int) -> None:
    duration = timedelta(seconds=length)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999))
def test_duration_is_the_sum_of_its_parts(hours: int, minutes: int, count: int) -> None:
    expected = timedelta(hours=hours, minutes=minutes, seconds=count)
    assert parse_duration(f"{hours}h{minutes}m{count}s") == expected


@pytest.mark.parametrize(
    ("written", "shortest"), [("90m", "1h30m"), ("3600s", "1h"), ("24h", "24h"), ("0h0m5s", "5s")]
)
def test_duration_is_written_in_its_largest_units(written: str, shortest: str) -> None:
    assert format_duration(parse_duration(written)) == shortest


@pytest.mark.parametrize(
    "wrong",
    ["", "h", "1", "1.5h", "-1h", "1h 30m", "30m1h", "1d", "1H", "\u0661h", "1234567h", 3600],
)
def test_invalid_duration_is_rejected(wrong: object) -> None:
    with pytest.raises(ValidationError, match="such as 24h, 90m or 1h30m"):
        TypeAdapter(Duration).validate_python(wrong)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_time_is_written_in_utc_and_whole_seconds(moment: datetime) -> None:
    assert datetime.fromisoformat(format_time(moment)) == moment.replace(microsecond=0)


@given(st.ip_addresses(), st.integers(0, 128))
def test_network_must_be_in_canonical_form(address: IPv4Address | IPv6Address, length: int) -> None:
    assume(not isinstance(address, IPv6Address) or address.ipv4_mapped is None)
    written = f"{address}/{min(length, address.max_prefixlen)}"
    network = ip_network(written, strict=False)
    assume(not (isinstance(network, IPv6Network) and network.network_address.ipv4_mapped))
    adapter = TypeAdapter(CIDR)
    assert adapter.validate_python(str(network)) == str(network)
    if str(network) != written:
        with pytest.raises(ValidationError, match="no host bits set"):
            adapter.validate_python(written)


@pytest.mark.parametrize("odd", ["::ffff:10.0.0.0/104", "::ffff:a00:0/104", "fe80::%1/64"])
def test_ambiguous_network_is_rejected(odd: str) -> None:
    with pytest.raises(ValidationError, match="in canonical CIDR form"):
        TypeAdapter(CIDR).validate_python(odd)


@pytest.mark.parametrize("wrong", ["shop", "a..b", "*.a.b", "a.b.", "A.b", "-a.b", "a_b.c"])
def test_name_must_be_a_complete_dns_name(wrong: str) -> None:
    with pytest.raises(ValidationError, match="write a full DNS name"):
        TypeAdapter(DNSName).validate_python(wrong)
