"""
What every test stands on: Control-C reaches what the tests start.

A shell that starts the suite in the background makes it ignore SIGINT, and everything it starts inherits that; then no
command can be interrupted and the tests of Control-C would wait for ever.
"""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
