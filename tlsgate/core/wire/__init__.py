"""First bytes and last words of the protocols behind the gate, one file each.

The matchers are three-valued (`core.sniff.Matcher`); the answers are complete: a client
that reads one shows its sentence to the user, and needs nothing more.
"""
