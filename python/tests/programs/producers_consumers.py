"""Producers and consumers about a queue of a few places, with a stop for each consumer."""

import sys

import procession as multiprocessing


def produce(queue, first, count):
    for number in range(first, first + count):
        queue.put(("item", number))


def consume(queue, results):
    total = 0
    while (item := queue.get())[0] != "stop":
        total += item[1]
        queue.task_done()
    queue.task_done()
    results.put(total)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue, results = multiprocessing.JoinableQueue(10), multiprocessing.SimpleQueue()
    producers = [
        multiprocessing.Process(target=produce, args=(queue, first, 500)) for first in (0, 500, 1000)
    ]
    consumers = [multiprocessing.Process(target=consume, args=(queue, results)) for _ in range(2)]
    for process in producers + consumers:
        process.start()
    for process in producers:
        process.join()
    queue.join()
    for _ in consumers:
        queue.put(("stop", None))
    queue.join()
    print(sum(results.get() for _ in consumers), sum(range(1500)))
    for process in consumers:
        process.join()
    print({process.exitcode for process in producers + consumers})
