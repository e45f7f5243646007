"""The groups of a data frame, each in a task of its own."""

import sys

import pandas
import procession as multiprocessing


def summary(group):
    name, frame = group
    return name, int(frame["value"].sum()), len(frame)


def clean(frame):
    return frame.assign(text=frame["text"].str.upper())


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    frame = pandas.DataFrame({"key": [n % 5 for n in range(10_000)], "value": range(10_000)})
    frame["text"] = frame["key"].map("key {}".format)
    with multiprocessing.Pool(2) as pool:
        print(pool.map(summary, frame.groupby("key")))
        parts = [frame[start : start + 2500] for start in range(0, len(frame), 2500)]
        cleaned = pandas.concat(pool.imap(clean, parts))
        print(cleaned.equals(clean(frame)), cleaned["text"].iloc[-1])
