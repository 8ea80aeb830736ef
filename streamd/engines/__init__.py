"""Engines: speech to words. They run inside a worker process, block, and know nothing of asyncio."""
