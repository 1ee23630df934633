import signal

from hypothesis import settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and so do the processes that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: what passed once passes again. `--hypothesis-profile=default` tries others.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
