"""Three processes of ten threads each, which count together."""

import multiprocessing
import sys
import threading


def work(total):
    own = threading.Lock()
    counts = []

    def count(number):
        with total.get_lock():
            total.value += 1
        with own:
            counts.append(number)

    threads = [threading.Thread(target=count, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(len(counts))


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    total = multiprocessing.Value("i", 0)
    children = [multiprocessing.Process(target=work, args=(total,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print([child.exitcode for child in children], total.value)
