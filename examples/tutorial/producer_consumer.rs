//! Producers and consumers over a queue, in any number of processes.
//!
//! ```text
//! cargo run --release --example producer_consumer
//! ```

use std::io::{self, Write};

use procession::{Queue, spawn};

const ITEMS: u32 = 1_000;

fn main() -> procession::Result<()> {
    let mut out = io::stdout();
    // At most 16 items wait: a producer that is faster than the consumers waits for them.
    let queue = Queue::<u32>::bounded(16)?;

    let producers = [spawn(produce, (queue.clone(), 0))?, spawn(produce, (queue.clone(), ITEMS))?];
    let consumers = [spawn(consume, (queue.clone(),))?, spawn(consume, (queue.clone(),))?];

    for producer in producers {
        producer.join()?;
    }
    // Every item was marked as done, by whoever got it.
    queue.join()?;
    // Nothing more comes: the consumers' loops end.
    queue.close();

    let (mut count, mut sum) = (0, 0);
    for consumer in consumers {
        let (one_count, one_sum) = consumer.join()?;
        count += one_count;
        sum += one_sum;
    }
    writeln!(out, "{count} items were consumed; their sum is {sum}")?;
    writeln!(out, "left in the queue: {}", queue.len())?;
    Ok(())
}

fn produce(queue: Queue<u32>, from: u32) {
    for item in from..from + ITEMS {
        queue.put(&item).expect("nobody closes it yet");
    }
}

/// Takes items until the queue is closed and empty.
fn consume(queue: Queue<u32>) -> (u32, u32) {
    let (mut count, mut sum) = (0, 0);
    for item in &queue {
        count += 1;
        sum += item;
        queue.task_done().expect("it was just got");
    }
    (count, sum)
}
