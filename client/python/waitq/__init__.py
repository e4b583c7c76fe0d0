"""Linux's sleeping and waking, for programs on different machines.

The client of `waitqd`: `Client` for threads, `waitq.aio.AsyncClient` for
asyncio. `waitq.v1` has the code of the protos, for those who want to speak gRPC
themselves.
"""

from waitq._any import *  # noqa: F401,F403
from waitq._call import Call, CancelToken
from waitq._poller import *  # noqa: F401,F403
from waitq.client import DEFAULT_SERVER, Client, PipeReader, PipeWriter, Starter
from waitq.errors import *  # noqa: F401,F403
from waitq.kit import *  # noqa: F401,F403
from waitq.types import *  # noqa: F401,F403
from waitq import _any
from waitq import _poller
from waitq import errors as _errors
from waitq import kit as _kit
from waitq import types as _types

__all__ = [
    "Call", "CancelToken", "Client", "DEFAULT_SERVER", "PipeReader",
    "PipeWriter", "Starter", *_any.__all__, *_errors.__all__,
    *_kit.__all__, *_poller.__all__, *_types.__all__,
]
