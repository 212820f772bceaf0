"""Errors of the API server."""

import pytest

from troth.cluster.errors import STORE_FULL, error_from_status

FULL = "etcdserver: mvcc: database space exceeded"


def test_write_that_a_full_etcd_rejects_has_a_reason_of_its_own() -> None:
    """The API server answers as follows (seen with 1.36 and etcd 3.6)."""
    error = error_from_status(500, {"kind": "Status", "code": 500, "message": FULL})
    assert (error.status, error.reason, error.code) == (500, STORE_FULL, STORE_FULL)


@pytest.mark.parametrize(("status", "message"), [(403, FULL), (500, "etcdserver: no leader")])
def test_other_errors_keep_their_code(status: int, message: str) -> None:
    error = error_from_status(status, {"message": message})
    assert error.reason != STORE_FULL
    assert error.code == str(status)
