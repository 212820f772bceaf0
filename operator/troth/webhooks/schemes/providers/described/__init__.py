"""HMAC whose header, signed text and encoding are described in the resource."""
