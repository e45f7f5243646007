"""A pool: callbacks in the parent, and workers that are replaced after some tasks."""

import math
import multiprocessing
import os
import sys


def root(number):
    return math.sqrt(number)


def pid(_):
    return os.getpid()


def power(base, exponent):
    return base**exponent


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    lines = []
    with multiprocessing.Pool(2, maxtasksperchild=3) as pool:
        for number in [49, 2, -1, 100]:
            pool.apply_async(
                root,
                (number,),
                callback=lambda value, number=number: lines.append(f"{number}: {value:.3f}"),
                error_callback=lambda error, number=number: lines.append(f"{number}: {error!r}"),
            )
        print(pool.starmap(power, [(2, 3), (3, 2), (10, 3)]))
        print(pool.apply(power, (2,), {"exponent": 10}))
        print(list(pool.imap(root, [1, 4, 9], 2)), sorted(pool.imap_unordered(root, [16, 25])))
        # Look at the processes: none does more than three tasks.
        print("at least 4 processes:", len(set(pool.map(pid, range(12), 1))) >= 4)
        waiting = pool.map_async(root, range(3))
        waiting.wait()
        print(waiting.ready(), waiting.successful())
        pool.close()
        pool.join()
    print(*sorted(lines), sep="\n")
