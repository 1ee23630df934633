"""The errors that medseg raises on purpose.

Each message is one line for a person: where, what came, what was wanted, and what to do next.
The command line prints that line and exits with code 2; anything else is a bug and shows its traceback.
"""


class MedsegError(Exception):
    """Something a user can mend. Parent of every error that medseg raises on purpose."""


class ConfigError(MedsegError):
    """A bundle, preset, override or command-line value that cannot work."""


class DataError(MedsegError):
    """A scan, a label map, a datalist or a folder that is not what it should be."""


class WeightsError(MedsegError):
    """A checkpoint or weights file that is damaged or belongs to another network."""


class NumericError(MedsegError):
    """A loss or a gradient that is not finite."""
