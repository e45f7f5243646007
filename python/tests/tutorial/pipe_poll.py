"""A pipe: both ways, `poll`, several at once, and the end of it."""

import multiprocessing
import multiprocessing.connection
import sys


def echo(end, other):
    # As long as anybody has the other end, this one has no end of file.
    other.close()
    while True:
        try:
            message = end.recv()
        except EOFError:
            break
        end.send(message * 2)
    end.close()


def say(end, word):
    end.send(word)
    end.close()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    ours, theirs = multiprocessing.Pipe()
    print("nothing yet:", ours.poll())
    child = multiprocessing.Process(target=echo, args=(theirs, ours))
    child.start()
    theirs.close()
    for message in [21, "ab", [1, None]]:
        ours.send(message)
        print(ours.poll(60), ours.recv())
    ours.close()
    child.join()
    print("the child has seen the end:", child.exitcode)

    ends, children = [], []
    for word in ["one", "two", "three"]:
        receiving, sending = multiprocessing.Pipe(duplex=False)
        children.append(multiprocessing.Process(target=say, args=(sending, word)))
        children[-1].start()
        sending.close()
        ends.append(receiving)
    said = []
    while ends:
        for end in multiprocessing.connection.wait(ends):
            try:
                said.append(end.recv())
            except EOFError:
                ends.remove(end)
    print(sorted(said))
    for child in children:
        child.join()
