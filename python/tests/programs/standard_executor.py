"""The standard library's executor, which takes a context and uses its queues and processes."""

import concurrent.futures
import sys

import procession


def square(number):
    return number * number


def fail(number):
    raise ValueError(f"no {number}")


if __name__ == "__main__":
    ctx = procession.get_context(sys.argv[1])
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=ctx) as executor:
        print(list(executor.map(square, range(10), chunksize=3)))
        print(sorted(f.result() for f in concurrent.futures.as_completed(
            [executor.submit(square, n) for n in range(10)])))
        print(repr(executor.submit(fail, 7).exception()))
