"""Drift: what happens when somebody edits or deletes an object that Troth owns.

The next plan writes the object again (`in_place` and `served` tell this from a changed
declaration). `repairs` delays it if it does not last, and names who undoes it, from the object's
`field_managers` or from the `alterations` of an admission.
"""
