"""The name of a client says its policies, and no other text is taken for such a name."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import half
from troth.documents.client_name import LONGEST, ClientName, client_name, read_client_name

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
POLICY = st.builds("{}/{}".format, LABEL, st.lists(LABEL, min_size=1, max_size=3).map(".".join))
VERSION = st.sampled_from(["0.1.0", "0.1.0.dev0", "1.2.3rc1", "1!2.0+local.7"])


def test_name_has_the_version_and_the_policies() -> None:
    assert (
        client_name(["shop/orders", "audit/log.v2"], "0.1.0.dev0")
        == "troth-events/0.1.0.dev0 audit/log.v2 shop/orders"
    )
    assert client_name(["shop/orders"]).startswith("troth-events/")


@given(st.sets(POLICY, min_size=1, max_size=30), VERSION)
def test_written_name_is_read_again(policies: set[str], version: str) -> None:
    name = client_name(policies, version)
    found = read_client_name(name)
    assert found is not None
    assert len(name) <= LONGEST
    assert name.isascii()
    assert name.isprintable()
    assert found.version == version
    assert found.complete == (set(found.policies) == policies)
    assert list(found.policies) == sorted(policies)[: len(found.policies)]


@given(st.permutations(["a/b", "a/c", "b/a"]))
def test_order_of_the_policies_does_not_matter(policies: list[str]) -> None:
    assert client_name(policies, "1") == "troth-events/1 a/b a/c b/a"


def test_policies_that_do_not_fit_are_marked_as_missing() -> None:
    many = [f"namespace-{number}/a-policy-with-a-name" for number in range(10)]
    found = read_client_name(client_name(many, "1"))
    assert found is not None
    assert not found.complete
    assert 0 < len(found.policies) < len(many)
    longest = "a" * 63 + "/" + ".".join(["b" * 60] * 4)
    assert client_name([longest], "1") == "troth-events/1 +"
    assert read_client_name("troth-events/1 +") == ClientName("1", (), complete=False)


def test_name_of_exactly_the_limit_is_complete() -> None:
    policy = "a/" + "b" * (LONGEST - len("troth-events/1 a/"))
    assert len(client_name([policy], "1")) == LONGEST
    assert read_client_name(client_name([policy], "1")) == ClientName("1", (policy,))


@given(st.text(max_size=400) | st.text("troth-evns/01. a+\n\0\x1b", max_size=300))
@example("troth-events/1 a/b\n")
def test_any_text_is_read_without_an_error(text: str) -> None:
    found = read_client_name(text)
    assert found is None or text.startswith(f"troth-events/{found.version} ")


@given(POLICY, st.integers(0, 40), st.characters(), half)
def test_edited_name_is_read_as_it_is_written_or_not_at_all(
    policy: str, place: int, character: str, replace: bool
) -> None:
    name = client_name([policy], "1")
    edited = name[:place] + character + name[place + replace :]
    found = read_client_name(edited)
    if found is not None:
        end = "" if found.complete else " +"
        assert edited == " ".join((f"troth-events/{found.version}", *found.policies)) + end


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rdkafka",
        "troth-events",
        "troth-events/1",
        "troth-events/1 ",
        "troth-events/1 shop",
        "troth-events/1  shop/orders",
        "troth-events/1 shop/orders ",
        "troth-events/1 shop/orders\n",
        "troth-events/1 shop/orders\0",
        "troth-events/1 + shop/orders",
        "troth-events/1 shop/orders + +",
        "troth-events/1 Shop/orders",
        "troth-events/1 shop/orders/x",
        "troth-events/\x1b[31m1 shop/orders",
        "Troth-events/1 shop/orders",
        " troth-events/1 shop/orders",
        "troth-events/1 shop/\u043erders",
        "troth-events/\u0661 shop/orders",
        "troth-events/1 a/" + "b" * 10_000,
    ],
)
def test_other_text_is_not_the_name_of_a_guarded_client(text: str) -> None:
    assert read_client_name(text) is None


@pytest.mark.parametrize(
    "policies", [[], [""], ["orders"], ["shop/orders x"], ["a/b\n"], ["\x1b/b"], ["é/b"]]
)
def test_invalid_policy_is_rejected(policies: list[str]) -> None:
    with pytest.raises(ValueError, match=r"namespace/name|at least one"):
        client_name(policies, "1")
