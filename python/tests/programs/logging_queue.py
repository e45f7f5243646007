"""One process writes what all of them log, as the logging cookbook has it."""

import logging
import logging.handlers
import sys

import procession as multiprocessing


def set_up(queue):
    logging.getLogger().handlers = [logging.handlers.QueueHandler(queue)]
    logging.getLogger().setLevel(logging.INFO)


def work(number):
    logging.getLogger("worker").info("task %d of %s", number, "ten")
    try:
        return 1 // (number - 3)
    except ZeroDivisionError:
        logging.exception("task failed")


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.Queue()
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    listener = logging.handlers.QueueListener(queue, handler)
    listener.start()
    with multiprocessing.Pool(2, set_up, (queue,)) as pool:
        pool.map(work, range(10))
        pool.close()
        pool.join()
    listener.stop()
    print(sorted(record.getMessage() for record in records if record.levelname == "INFO"))
    (failed,) = (record for record in records if record.levelname == "ERROR")
    print("ZeroDivisionError" in failed.getMessage(), "PoolWorker" in failed.processName)
