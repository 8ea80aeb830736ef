"""THE one place where threads, processes and asyncio meet.

`EngineHost` is an engine that survives its process; `OneThread` and `in_thread` are for calls that block. Whoever uses
them sees coroutines only.
"""

from streamd.bridge.host import EngineFailed, EngineHost
from streamd.bridge.threads import OneThread, in_thread

__all__ = ["EngineFailed", "EngineHost", "OneThread", "in_thread"]
