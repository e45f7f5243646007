"""Producers and consumers over two queues: tasks that are marked as done, and an end for each."""

import multiprocessing
import sys


def produce(tasks, first):
    for number in range(first, first + 50):
        tasks.put(number)


def consume(tasks, results):
    while (number := tasks.get()) is not None:
        results.put((number, number * number))
        tasks.task_done()
    tasks.task_done()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    tasks, results = multiprocessing.JoinableQueue(10), multiprocessing.Queue()
    consumers = [multiprocessing.Process(target=consume, args=(tasks, results)) for _ in range(3)]
    producers = [multiprocessing.Process(target=produce, args=(tasks, n)) for n in (0, 50)]
    for process in consumers + producers:
        process.start()
    for process in producers:
        process.join()
    for _ in consumers:
        tasks.put(None)
    tasks.join()
    squares = dict(results.get() for _ in range(100))
    for process in consumers:
        process.join()
    print(len(squares), all(squares[n] == n * n for n in range(100)))
    print("nothing is left:", tasks.empty(), results.empty())
