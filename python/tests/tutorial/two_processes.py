"""Two processes that work at the same time, and how long that took."""

import multiprocessing
import sys
import time


def count(name, seconds):
    time.sleep(seconds)
    print(f"{name} has slept for {seconds} s", flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    began = time.perf_counter()
    first = multiprocessing.Process(target=count, args=("the first", 0.5))
    second = multiprocessing.Process(target=count, kwargs={"name": "the second", "seconds": 0.1})
    first.start()
    second.start()
    print("both run:", first.is_alive(), first.pid != second.pid)
    second.join()
    first.join()
    print("they end with", first.exitcode, second.exitcode)
    # Look at the time: it is less than that of one after the other, and no less than the longer.
    print("it took a while:", time.perf_counter() - began >= 0.5)
