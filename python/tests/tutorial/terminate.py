"""Ending processes: `terminate`, `kill`, and what `exitcode` says of it."""

import multiprocessing
import signal
import sys
import time


def sleep(ready):
    ready.release()
    time.sleep(3600)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    ready = multiprocessing.Semaphore(0)
    children = [multiprocessing.Process(target=sleep, args=(ready,)) for _ in range(2)]
    for child in children:
        child.start()
        ready.acquire()
    print([child.is_alive() for child in children], [child.exitcode for child in children])
    children[0].terminate()
    children[1].kill()
    for child in children:
        child.join(60)
    ended = [signal.Signals(-child.exitcode).name for child in children]
    print(ended)
    for child in children:
        child.close()
    try:
        children[0].is_alive()
    except ValueError as error:
        print("ValueError:", error)
