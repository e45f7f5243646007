"""A lock, and values in shared memory that it guards."""

import multiprocessing
import sys


def count(lock, number, array):
    for _ in range(500):
        with lock:
            number.value += 1
            array[number.value % len(array)] += 1


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    lock = multiprocessing.Lock()
    number = multiprocessing.Value("i", 0, lock=False)
    array = multiprocessing.Array("q", 4)
    children = [
        multiprocessing.Process(target=count, args=(lock, number, array)) for _ in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print(number.value, array[:])
    print("taken:", lock.acquire(timeout=60), "and not twice:", lock.acquire(block=False))
    lock.release()
    try:
        lock.release()
    except ValueError as error:
        print("ValueError:", error)
