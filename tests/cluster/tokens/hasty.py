"""`troth` with short token lifetimes, so that no test waits a quarter of an hour.

An old signing key is published until the last token that it can have signed has expired: after the
maximum token lifetime, the clock leeway and the propagation delay. The first two are constants of
`troth.pki.tokens.signing`. Here they are seconds, set before any module reads them.
"""

from datetime import timedelta

from troth.pki.tokens import signing

MAX_LIFETIME = timedelta(seconds=12)
LEEWAY = timedelta(seconds=1)

if __name__ == "__main__":
    signing.MAX_LIFETIME = MAX_LIFETIME
    signing.LEEWAY = LEEWAY

    from troth.cli.main import main

    main()
