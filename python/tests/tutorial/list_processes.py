"""Many processes in a list, and the ones that still run."""

import multiprocessing
import sys


def wait(gate, number):
    gate.wait()
    sys.exit(number)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    gate = multiprocessing.Event()
    children = [
        multiprocessing.Process(target=wait, args=(gate, number), name=f"waiter-{number}")
        for number in range(5)
    ]
    for child in children:
        child.start()
    active = multiprocessing.active_children()
    print(len(active), sorted(child.name for child in active))
    gate.set()
    for child in children:
        child.join()
    print([child.exitcode for child in children], multiprocessing.active_children())
