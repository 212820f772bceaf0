"""Drift: what happens when somebody edits or deletes an object that Troth owns.

The next plan writes the object again; `applied_digests` tells drift from a changed declaration. If
the write does not last, `backoff` delays the next one, and reports who undoes it: one of the
`field_managers` of the object, or an admission policy or webhook (`server_mutations`).
"""
