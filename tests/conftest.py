import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and so do the processes that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
