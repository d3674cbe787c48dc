"""The pure part: bytes and values in, values out.

Nothing below imports Twisted, OpenSSL, a socket, a clock, a file or the
environment; `tests/test_layers.py` holds it to that.
"""
