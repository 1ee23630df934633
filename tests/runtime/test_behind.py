"""Nothing that was handed over is lost, and errors come in the order of the work."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from medseg.runtime.behind import Behind


class Desk:
    """Work with names, and what of it was done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def work(self, name: str, *, fails: bool = False, gate: threading.Event | None = None) -> Callable[[], None]:
        def piece() -> None:
            if gate is not None:
                assert gate.wait(10)
            if fails:
                raise ValueError(name)
            self.done.append(name)

        return piece


def test_the_caller_goes_on_while_a_piece_is_done() -> None:
    desk, gate = Desk(), threading.Event()
    with Behind() as behind:
        behind.hand_over(desk.work("a", gate=gate))
        assert desk.done == []
        gate.set()
        behind.hand_over(desk.work("b"))
        assert desk.done[:1] == ["a"]
    assert desk.done == ["a", "b"]


def test_one_piece_at_a_time() -> None:
    here, most = [0], [0]

    def piece() -> None:
        here[0] += 1
        most[0] = max(most[0], here[0])
        here[0] -= 1

    with Behind() as behind:
        for _ in range(50):
            behind.hand_over(piece)
    assert most == [1]


def run(*pieces: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
    """Hands the pieces over; then the caller does something itself."""
    with Behind() as behind:
        for piece in pieces:
            behind.hand_over(piece)
        then()


def raises(error: BaseException, gate: threading.Event | None = None) -> Callable[[], None]:
    def piece() -> None:
        if gate is not None:
            threading.Timer(0.05, gate.set).start()
        raise error

    return piece


def test_a_piece_that_fails_is_raised_by_the_next_which_is_done_all_the_same() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="a"):
        run(desk.work("a", fails=True), desk.work("b"), desk.work("c"))
    assert desk.done == ["b"]


def test_the_first_of_two_errors_is_raised() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="a"):
        run(desk.work("a", fails=True), desk.work("b", fails=True))


def test_the_last_piece_fails_at_the_end() -> None:
    with pytest.raises(ValueError, match="a"):
        run(Desk().work("a", fails=True))


@pytest.mark.parametrize("error", [KeyError("caller"), KeyboardInterrupt("caller")])
def test_when_the_caller_stops_what_was_handed_over_is_done(error: BaseException) -> None:
    desk, gate = Desk(), threading.Event()
    with pytest.raises(type(error), match="caller"):
        run(desk.work("a", gate=gate), then=raises(error, gate))
    assert desk.done == ["a"]


def test_an_earlier_piece_goes_before_the_callers_error_but_not_before_an_interrupt() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="a"):
        run(desk.work("a", fails=True), then=raises(KeyError("caller")))
    with pytest.raises(KeyboardInterrupt):
        run(desk.work("a", fails=True), then=raises(KeyboardInterrupt()))


def test_it_catches_up_on_demand_and_starts_again() -> None:
    desk, behind = Desk(), Behind()
    for name in ("a", "b"):
        with behind:
            behind.hand_over(desk.work(name))
            behind.catch_up()
            assert desk.done[-1] == name
    with pytest.raises(RuntimeError, match="inside its `with`"):
        behind.hand_over(desk.work("c"))
