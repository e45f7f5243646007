"""A process as a class of one's own: `run` is what the child does."""

import multiprocessing
import sys


class Adder(multiprocessing.Process):
    def __init__(self, numbers, result):
        super().__init__(name="adder", daemon=True)
        self.numbers = numbers
        self.result = result

    def run(self):
        me = multiprocessing.current_process()
        self.result.put((me.name, me.daemon, sum(self.numbers)))


class Failing(multiprocessing.Process):
    def run(self):
        sys.exit(7)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    result = multiprocessing.Queue()
    child = Adder(range(101), result)
    child.start()
    print(result.get())
    child.join()
    print(child.name, "ended with", child.exitcode)

    child = Failing()
    child.start()
    child.join()
    print("the other one with", child.exitcode)
