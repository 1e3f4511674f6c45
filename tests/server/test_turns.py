"""Turns at the event loop."""

from __future__ import annotations

import asyncio
import time

from bark_server.turns import BUDGET_S, Turns


async def test_turns_are_taken_in_order_and_once() -> None:
    """Whoever asks twice before its turn has one turn; first come, first served."""
    turns, done = Turns(asyncio.get_running_loop()), list[str]()
    first, second = (lambda: done.append("first")), (lambda: done.append("second"))
    for work in (first, second, first):
        turns.ask(work)
    await asyncio.sleep(0)
    assert done == ["first", "second"]
    turns.ask(first)
    await asyncio.sleep(0)
    assert done == ["first", "second", "first"]


async def test_turns_let_the_loop_breathe() -> None:
    """Work beyond the budget waits for the next round of the loop."""
    turns, done = Turns(asyncio.get_running_loop()), list[int]()

    def busy(number: int) -> None:
        time.sleep(BUDGET_S)
        done.append(number)

    for number in range(3):
        turns.ask(lambda number=number: busy(number))  # type: ignore[misc]
    await asyncio.sleep(0)
    assert done == [0]
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == [0, 1, 2]
