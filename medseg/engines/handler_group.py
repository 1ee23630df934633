"""Handlers named one by one in a config, attached together."""

from __future__ import annotations

from typing import Any, Protocol

from ignite.engine import Engine


class Handler(Protocol):
    """What Ignite calls a handler: it hangs itself on an engine's events."""

    def attach(self, engine: Engine) -> None:
        """Registers the handler's callbacks."""


class HandlerGroup:
    """Attaches its handlers in the order given, leaving out those that are None (`_disabled_` ones).

    It lets a config give each handler a key of its own, so that an override can reach it by name, while
    `train::handlers` stays the list of components that MONAI's `check_properties` reads.

    Args:
        handlers: The handlers by name.
    """

    def __init__(self, **handlers: Any) -> None:
        self.handlers: dict[str, Handler] = {name: handler for name, handler in handlers.items() if handler is not None}

    def attach(self, engine: Engine) -> None:
        """Attaches each handler to the engine."""
        for handler in self.handlers.values():
            handler.attach(engine)
