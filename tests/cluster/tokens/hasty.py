"""`troth` where no token lives for long, so that nobody waits out a quarter of an hour.

A key that signed is published until the last token that it can have signed has ended: as long as
any token may live, the leeway of clocks, and the way to the mounts. The first two are constants of
`troth.pki.tokens`; here they are seconds, before anybody has read them.
"""

from datetime import timedelta

from troth.pki import tokens

MAX_LIFETIME = timedelta(seconds=12)
LEEWAY = timedelta(seconds=1)

if __name__ == "__main__":
    tokens.MAX_LIFETIME = MAX_LIFETIME
    tokens.LEEWAY = LEEWAY

    from troth.cli.main import main

    main()
