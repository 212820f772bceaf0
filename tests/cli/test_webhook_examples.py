"""examples/webhooks: complete except for the Secret that the sender issues, which it asks for."""

from pathlib import Path

from typer.testing import CliRunner

from troth.cli.main import app

FOLDER = Path(__file__).parents[2] / "examples" / "webhooks"


def planned(*files: Path) -> list[str]:
    named = [argument for file in files for argument in ("-f", str(file))]
    return CliRunner().invoke(app, ["plan", *named]).output.splitlines()


def test_gateway_has_the_endpoint_and_may_call_its_target() -> None:
    lines = planned(FOLDER)
    assert "+ Secret shop/orders-webhook" in lines
    assert "+ Secret troth-gateway/shop.orders" in lines
    assert "    troth-gateway/troth-gateway → shop/payments:webhooks" in lines
    assert "    +  path: /shop/orders" in lines
    assert "    +    host: payments.shop.svc" in lines


def test_no_key_is_shown() -> None:
    assert "whsec_" not in "\n".join(planned(FOLDER))


def test_two_runs_have_the_same_output_despite_new_keys() -> None:
    assert planned(FOLDER) == planned(FOLDER)


def test_only_the_senders_secret_needs_attention() -> None:
    lines = planned(FOLDER)
    attention = lines[lines.index("Needs attention") + 1 : -1]
    (line,) = attention
    assert "notice: WebhookEndpoint shop/stripe-charges: Secret shop/stripe-signing" in line
    assert line.endswith("[SecretMissing]")
