"""Bitbucket and Jira: GitHub's signature, in the header that GitHub uses for SHA-1.

https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/,
https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html,
https://developer.atlassian.com/cloud/jira/platform/webhooks/
"""

from troth.webhooks.schemes.families.body_hmac import BodyHMAC


class Bitbucket(BodyHMAC):
    """`X-Hub-Signature: sha256=…`. The IDs are those of Bitbucket Cloud, Data Center and Jira."""

    header = b"x-hub-signature"
    prefix = "sha256="
    ids = (b"x-request-uuid", b"x-request-id", b"x-atlassian-webhook-identifier")
