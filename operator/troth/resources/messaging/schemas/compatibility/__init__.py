"""Which changes of a schema are incompatible, for producers and for consumers.

`compare.changes_between` compares two schemas of one policy. The answer is one of three: nothing is
incompatible, something is, or the rules cannot decide it.
"""
