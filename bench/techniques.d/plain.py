"""The six classic ways to limit concurrency, in the plainest Python that people write:

    plain.py TECHNIQUE LIST DIR        unbounded, sleep:S, batch:N, semaphore:N, pool:N or queue:N

asyncio and aiohttp; the pool is of threads, with urllib. Nothing is retried or resumed. On stderr:
the most tasks that there were at once, made and not ended."""
import asyncio
import itertools
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import aiohttp

HAND = {"now": 0, "most": 0}
LOCK = threading.Lock()


def begin(count=1):
    with LOCK:
        HAND["now"] += count
        HAND["most"] = max(HAND["most"], HAND["now"])


def end():
    with LOCK:
        HAND["now"] -= 1


def save(url, body):
    with open(os.path.join(DIRECTORY, url.rsplit("/", 1)[1].split("?")[0]), "wb") as out:
        out.write(body)


async def fetch(session, url):
    async with session.get(url) as response:
        response.raise_for_status()
        save(url, await response.read())
    end()


async def unbounded(session, urls):
    tasks = []
    for url in urls:
        begin()
        tasks.append(asyncio.create_task(fetch(session, url)))
    await asyncio.gather(*tasks)


async def sleep(session, urls, pause):
    tasks = []
    for url in urls:
        begin()
        tasks.append(asyncio.create_task(fetch(session, url)))
        await asyncio.sleep(pause)
    await asyncio.gather(*tasks)


async def batch(session, urls, size):
    while some := list(itertools.islice(urls, size)):
        begin(len(some))
        await asyncio.gather(*(fetch(session, url) for url in some))


async def semaphore(session, urls, most):
    gate = asyncio.Semaphore(most)

    async def fetch_in_turn(url):
        async with gate:
            await fetch(session, url)

    tasks = []
    for url in urls:
        begin()
        tasks.append(asyncio.create_task(fetch_in_turn(url)))
    await asyncio.gather(*tasks)


def pool(urls, size):
    def fetch_in_thread(url):
        with urlopen(url) as response:
            save(url, response.read())
        end()

    with ThreadPoolExecutor(size) as threads:
        futures = []
        for url in urls:
            begin()
            futures.append(threads.submit(fetch_in_thread, url))
        for future in futures:
            future.result()


async def queue(session, urls, size):
    waiting = asyncio.Queue(size)

    async def worker():
        while (url := await waiting.get()) is not None:
            await fetch(session, url)

    workers = [asyncio.create_task(worker()) for _ in range(size)]
    for url in urls:
        begin()
        await waiting.put(url)
    for _ in workers:
        await waiting.put(None)
    await asyncio.gather(*workers)


async def in_a_session(technique, urls, *argument):
    async with aiohttp.ClientSession() as session:  # which has a limit of its own: 100 connections
        await technique(session, urls, *argument)


def main(rule, path):
    name, _, argument = rule.partition(":")
    with open(path, encoding="ascii") as lines:
        urls = (line.strip() for line in lines)
        if name == "pool":
            pool(urls, int(argument))
        elif name == "unbounded":
            asyncio.run(in_a_session(unbounded, urls))
        elif name == "sleep":
            asyncio.run(in_a_session(sleep, urls, float(argument)))
        else:
            technique = {"batch": batch, "semaphore": semaphore, "queue": queue}[name]
            asyncio.run(in_a_session(technique, urls, int(argument)))
    print(f"at most {HAND['most']} in flight", file=sys.stderr)


DIRECTORY = sys.argv[3]
main(*sys.argv[1:3])
