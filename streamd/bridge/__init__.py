"""THE one place where threads, processes and asyncio meet.

`EngineHost` is an engine that survives its process; `OneThread`, `OwnThreads` and `in_thread` are for calls that block.
Whoever uses them sees coroutines only.
"""

from streamd.bridge.host import EngineFailed, EngineHost
from streamd.bridge.threads import NoThreadError, OneThread, OwnThreads, in_thread

__all__ = ["EngineFailed", "EngineHost", "NoThreadError", "OneThread", "OwnThreads", "in_thread"]
