"""How a task of asyncio waits for calls."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, TypeVar

from waitq._call import Call, Steps

T = TypeVar("T")


def _ended(call: Call[Any]) -> Awaitable[None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def set_result() -> None:
        if not future.done():
            future.set_result(None)

    def tell(_: Call[Any]) -> None:
        try:
            loop.call_soon_threadsafe(set_result)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    call.add_done_callback(tell)
    return future


async def drive(steps: Steps[T]) -> T:
    """Does it, by awaiting. Cancelling the task interrupts that."""
    try:
        call = next(steps)
        while True:
            try:
                await _ended(call)
            except BaseException as error:  # pylint: disable=broad-except
                call = steps.throw(error)
            else:
                call = next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
