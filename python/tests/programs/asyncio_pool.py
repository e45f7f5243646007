"""Coroutines that wait for processes: of a pool, of an executor, and for what they were too slow at."""

import asyncio
import sys
import time

import procession
from procession import futures


def square(number):
    return number * number


async def main(ctx):
    loop = asyncio.get_running_loop()
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with ctx.Pool(2) as pool:
        print(sum(await asyncio.gather(*(pool.apply_aio(square, (n,)) for n in range(100)))))
        print(await pool.map_async(square, range(5)))
        try:
            await asyncio.wait_for(pool.apply_aio(time.sleep, (600,)), 0.05)
        except asyncio.TimeoutError:
            print("too slow")
        # Its worker was ended; another one is there.
        print(await pool.apply_aio(square, (9,)))
    with futures.ProcessPoolExecutor(2, ctx) as executor:
        print(await loop.run_in_executor(executor, square, 10))
        print(await asyncio.gather(*(loop.run_in_executor(executor, square, n) for n in range(5))))
    ticking.cancel()
    print(ticks > 0)


if __name__ == "__main__":
    asyncio.run(main(procession.get_context(sys.argv[1])))
