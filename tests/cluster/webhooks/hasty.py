"""`troth` whose gateways report the used keys every second instead of every minute."""

from troth.cli.main import main
from troth.webhooks.gateway import reporting

reporting.EVERY = 1.0

if __name__ == "__main__":
    main()
