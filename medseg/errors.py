"""The errors that medseg raises on purpose.

Each message is one line for a person: where, what came, what was wanted, and what to do next.
The command line prints that line and where in the config it happened, and exits with code 2; with 1 for anything else.
"""


class MedsegError(Exception):
    """Something a user can mend. Parent of every error that medseg raises on purpose.

    Attributes:
        case: Id of the case, where one is to blame and the raiser knew it.
        file: The scan or label map, likewise.
        component: Class name of the transform, likewise.
    """

    case: str | None = None
    file: str | None = None
    component: str | None = None


class ConfigError(MedsegError):
    """A bundle, preset, override or command-line value that cannot work."""


class DataError(MedsegError):
    """A scan, a label map, a datalist or a folder that is not what it should be."""


class WeightsError(MedsegError):
    """A checkpoint or weights file that is damaged or belongs to another network."""


class NumericError(MedsegError):
    """A loss or a gradient that is not finite."""


class TrustError(MedsegError):
    """A bundle that can execute more than is known to be harmless, and that the user has not trusted.

    Attributes:
        items: Where and what, one line each.
    """

    def __init__(self, message: str, items: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.items = items
        # What the command line shows: all of it, since half a list would be no warning.
        self.screen = [f"error: {message}", *(f"  {item}" for item in items)]
