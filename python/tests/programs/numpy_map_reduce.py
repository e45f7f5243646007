"""Map and reduce over blocks of an array: by value, and in memory that all of them share."""

import functools
import operator
import sys

import numpy
import procession as multiprocessing


def moments(block):
    return numpy.array([block.size, block.sum(), (block * block).sum()])


def fill(shared, shape, row):
    memory = multiprocessing.shared_memory.SharedMemory(shared)
    array = numpy.ndarray(shape, buffer=memory.buf)
    array[row] = row
    del array
    memory.close()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    # Before the pool, for forked workers to know the same resource tracker.
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=10 * 100 * 8)
    array = numpy.ndarray((10, 100), buffer=memory.buf)
    data = numpy.arange(4_000_000, dtype=float)
    with multiprocessing.Pool(2) as pool:
        parts = pool.imap_unordered(moments, numpy.array_split(data, 16))
        size, total, squares = functools.reduce(operator.add, parts)
        mean = total / size
        print(int(size), mean, round(squares / size - mean * mean) == round(data.var()))
        doubled = pool.map(numpy.negative, numpy.array_split(data, 4))
        print((numpy.concatenate(doubled) == -data).all())
        pool.starmap(fill, [(memory.name, array.shape, row) for row in range(10)])
    print(array.sum(axis=1).tolist())
    del array
    memory.close()
    memory.unlink()
