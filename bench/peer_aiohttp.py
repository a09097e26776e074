"""asyncio + aiohttp with a semaphore, in the plainest way: peer_aiohttp.py LIST DIR [N]."""
import asyncio
import os
import sys

import aiohttp


async def fetch(session, gate, url, path):
    async with gate, session.get(url) as response:
        response.raise_for_status()
        with open(path, "wb") as out:
            out.write(await response.read())


async def main(urls, directory, at_once):
    gate = asyncio.Semaphore(at_once)
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(fetch(session, gate, url, os.path.join(directory, str(i)))
                               for i, url in enumerate(urls)))


with open(sys.argv[1], encoding="ascii") as lines:
    asyncio.run(main(lines.read().split(), sys.argv[2],
                     int(sys.argv[3]) if len(sys.argv) > 3 else 200))
