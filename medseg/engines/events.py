"""The phases of a run, in an order that the trainer fixes: the order of handlers in a config does not matter."""

from ignite.engine import EventEnum


class RunEvents(EventEnum):
    """At the start RESTORE, READY; after an epoch VALIDATE, JUDGE, REPORT, SAVE; INTERRUPTED before a run is left."""

    RESTORE = "run_restore"
    READY = "run_ready"
    VALIDATE = "run_validate"
    JUDGE = "run_judge"
    REPORT = "run_report"
    SAVE = "run_save"
    INTERRUPTED = "run_interrupted"
