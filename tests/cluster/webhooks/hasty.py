"""`troth` whose gateways report each second which keys were used, and not each minute."""

from troth.cli.main import main
from troth.webhooks.gateway import reporting

reporting.EVERY = 1.0

if __name__ == "__main__":
    main()
