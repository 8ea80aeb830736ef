"""The pure core: data in, data out. No asyncio, thread, socket, file, clock, randomness or logging."""
