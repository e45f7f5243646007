"""A bounded semaphore that lets two in, and an event that all wait for."""

import multiprocessing
import sys
import time


def sit(seats, start, now, most):
    start.wait()
    with seats:
        with now.get_lock():
            now.value += 1
            with most.get_lock():
                most.value = max(most.value, now.value)
        time.sleep(0.02)
        with now.get_lock():
            now.value -= 1


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    seats, start = multiprocessing.BoundedSemaphore(2), multiprocessing.Event()
    now, most = multiprocessing.Value("i", 0), multiprocessing.Value("i", 0)
    guests = [
        multiprocessing.Process(target=sit, args=(seats, start, now, most)) for _ in range(6)
    ]
    for guest in guests:
        guest.start()
    print("started:", start.is_set(), start.wait(0.05))
    start.set()
    for guest in guests:
        guest.join()
    print("never more than two:", 1 <= most.value <= 2, now.value)
    try:
        seats.release()
    except ValueError as error:
        print("ValueError:", error)
