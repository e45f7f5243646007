//! What is wrong is refused, with words that say what would be right. (Names of shared memory have
//! theirs in `named`.)

use std::fs::File;
use std::os::unix::fs::FileExt;

use procession::{
    Array, Barrier, BoundedSemaphore, Condition, Event, GetError, Lock, Mutex, Process, PutError,
    Queue, RLock, Semaphore, SharedMemory, StartMethod, TryPutError, Value,
};
use procession_tests::{fail, for_each_method, join, proc, tests};
use serde::Serialize;
use serde::de::DeserializeOwned;

for_each_method! {
    what_is_not_held_cannot_be_given_up_anywhere,
    a_message_larger_than_memory_stays_the_callers,
    a_message_larger_than_memory_stays_in_the_queue,
    a_drained_queue_says_so_everywhere,
    one_task_done_too_many,
    another_version_is_told_with_both,
}

tests! {
    sizes_that_cannot_be,
    permits_that_cannot_be,
    messages_that_cannot_be,
}

/// What `error` says has all of `words` in it, on one line.
fn says(error: &dyn std::fmt::Display, words: &[&str]) {
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
}

fn sizes_that_cannot_be() {
    let queue = |limit| Queue::<u8>::bounded(limit).expect_err("no such queue");
    says(&queue(0), &["at most 0 messages", "at least 1", "`unbounded` has none"]);
    says(&queue(1 << 32), &["4294967296", "at most 4294967295"]);
    drop(Queue::<u8>::bounded(u32::MAX as usize).expect("the most"));
    let array = |length| Array::<u64>::new(length).expect_err("no such array");
    says(&array(0), &["0 elements of 8 bytes", "at least 1 element"]);
    let most = isize::MAX.to_string();
    says(&array(isize::MAX as usize / 8 + 1), &["elements of 8 bytes", "at most", &most]);
    says(&array(usize::MAX), &["18446744073709551615 elements", &most]);
    says(&Array::<u64>::from_slice(&[]).expect_err("nothing"), &["0 elements", "at least 1"]);
    // As many bytes as there may be, but not as the machine has.
    says(&array(isize::MAX as usize / 8), &["shared memory cannot be had"]);
    says(&array(1 << 47), &["shared memory cannot be had", "more than"]);
    says(&SharedMemory::new(0).expect_err("nothing"), &["0 bytes", "at least 1"]);
    says(&SharedMemory::new(usize::MAX).expect_err("all"), &["shared memory cannot be had"]);
    let barrier = |parties| Barrier::new(parties).expect_err("no such barrier");
    says(&barrier(0), &["for 0 parties", "at least 1 and at most 1000000"]);
    says(&barrier(1_000_001), &["for 1000001 parties", "at most 1000000"]);
    drop(Barrier::new(1_000_000).expect("the most"));
}

fn permits_that_cannot_be() {
    // None at first: they are given later.
    let semaphore = Semaphore::new(0).expect("a semaphore");
    assert!(semaphore.try_acquire().expect("nobody dies").is_none());
    semaphore.release().expect("one more");
    std::mem::forget(semaphore.acquire().expect("nobody dies"));
    assert_eq!(semaphore.value(), 0);
    let full = "as many permits as it may have";
    let none = BoundedSemaphore::new(0).expect("a semaphore");
    says(&none.release().expect_err("it never has any"), &[full]);
    let most = Semaphore::new(u32::MAX as usize).expect("the most");
    says(&most.release().expect_err("one too many"), &[full, "one can be released for each"]);
    std::mem::forget(most.acquire().expect("nobody dies"));
    most.release().expect("it was acquired");
    assert_eq!(most.value(), u32::MAX as usize);
    let bounded = BoundedSemaphore::new(u32::MAX as usize).expect("the most");
    says(&bounded.release().expect_err("one too many"), &[full]);
    for result in [Semaphore::new(1 << 32).map(drop), BoundedSemaphore::new(usize::MAX).map(drop)] {
        says(&result.expect_err("too many"), &["permits cannot be made", "most is 4294967295"]);
    }
}

fn what_is_not_held_cannot_be_given_up_anywhere(method: StartMethod) {
    type All = (Lock, RLock, Condition, Semaphore, BoundedSemaphore);
    let all: All = (
        Lock::new().expect("lock"),
        RLock::new().expect("lock"),
        Condition::new().expect("condition"),
        Semaphore::new(u32::MAX as usize).expect("semaphore"),
        BoundedSemaphore::new(3).expect("semaphore"),
    );
    let release = |all: All| {
        let (lock, rlock, condition, semaphore, bounded) = all;
        let results = [
            lock.release(),
            rlock.release(),
            condition.release(),
            semaphore.release(),
            bounded.release(),
        ];
        results.map(|result| result.expect_err("nobody has it").to_string())
    };
    let check = |errors: &[String; 5]| {
        says(&errors[0], &["the lock is not held by anybody", "once for each acquire"]);
        says(&errors[1], &["this thread does not hold the lock", "only the thread that took it"]);
        says(&errors[2], &["the condition's lock is not held by anybody"]);
        says(&errors[3], &["as many permits as it may have"]);
        says(&errors[4], &["as many permits as it may have"]);
    };
    check(&join(Process::new(release, (all.clone(),)), method));
    check(&release(all.clone()));
    // All of them are as before.
    assert_eq!((all.3.value(), all.4.value()), (u32::MAX as usize, 3));
    drop(all.0.acquire().expect("nobody dies"));
    let held = all.1.acquire().expect("nobody dies");
    let other = |lock: RLock| lock.release().expect_err("the parent's").to_string();
    says(
        &join(Process::new(other, (all.1.clone(),)), method),
        &["this thread does not hold the lock", "only the thread that took it"],
    );
    drop(held);
}

fn a_message_larger_than_memory_stays_the_callers(method: StartMethod) {
    const LIMIT: u64 = 128 << 20;
    let puts = |bytes: Queue<Vec<u8>>, texts: Queue<(u8, String)>| {
        let message = (1, "x".repeat(80 << 20));
        let error = texts.put(&message).expect_err("no memory for another one");
        assert!(matches!(error, PutError::Encode(_)), "{error:?}");
        let timed = texts.try_put(&message).expect_err("no memory for another one");
        assert!(matches!(timed, TryPutError::Encode(_)), "{timed:?}");
        // It is the caller's still, and what fits goes through.
        assert!(message.1.len() == 80 << 20 && message.1.ends_with('x'));
        texts.put(&(2, "fits".to_owned())).expect("it fits");
        drop(message);
        // A vector of numbers goes through as it is: it takes no memory of this process.
        bytes.put(&vec![1; 80 << 20]).expect("it lies in shared memory");
        error.to_string()
    };
    let (bytes, texts) = (Queue::unbounded().expect("queue"), Queue::unbounded().expect("queue"));
    let process = Process::new(puts, (bytes.clone(), texts.clone())).memory_limit(LIMIT);
    let text = join(process, method);
    says(&text, &["the message", "cannot be encoded", "there is no memory for its bytes"]);
    assert_eq!((bytes.len(), texts.len()), (1, 1));
    assert_eq!(texts.get().expect("the one that fits"), (2, "fits".to_owned()));
    assert_eq!(bytes.get().expect("it was put").len(), 80 << 20);
}

fn a_message_larger_than_memory_stays_in_the_queue(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    queue.put(&vec![3u8; 80 << 20]).expect("there is memory");
    let gets = |queue: Queue<Vec<u8>>| {
        let error = queue.get().expect_err("no memory for it");
        assert!(matches!(error, GetError::Io(_)), "{error:?}");
        error.to_string()
    };
    let process = Process::new(gets, (queue.clone(),)).memory_limit(64 << 20);
    says(&join(process, method), &["refused to use the queue", "memory"]);
    assert_eq!(queue.len(), 1);
    assert!(queue.get().expect("it is still there") == vec![3; 80 << 20]);
}

fn a_drained_queue_says_so_everywhere(method: StartMethod) {
    let queue = Queue::bounded(2).expect("queue");
    queue.put(&1u8).expect("room");
    queue.close();
    queue.close();
    let gets = |queue: Queue<u8>| {
        assert_eq!(queue.get().expect("it was put before"), 1);
        let put = queue.put(&2).expect_err("closed").to_string();
        [queue.get().expect_err("drained").to_string(), put]
    };
    let drained = ["the queue is closed, and every message has been taken"];
    let [get, put] = join(Process::new(gets, (queue.clone(),)), method);
    says(&get, &drained);
    says(&put, &["the queue is closed: nothing can be put"]);
    says(&queue.get().expect_err("drained"), &drained);
    says(&queue.try_get().expect_err("drained"), &drained);
    says(&queue.get_timeout(std::time::Duration::ZERO).expect_err("drained"), &drained);
    assert_eq!(queue.iter().count(), 0);
    assert!(queue.is_closed() && queue.is_empty() && !queue.is_full());
}

fn one_task_done_too_many(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    queue.put(&1u8).expect("it is open");
    let works = |queue: Queue<u8>| {
        queue.get().expect("one was put");
        queue.task_done().expect("it was got");
        queue.task_done().expect_err("once for each").to_string()
    };
    let words = ["marked as done already", "call `task_done` once for each that was got"];
    says(&join(Process::new(works, (queue.clone(),)), method), &words);
    says(&queue.task_done().expect_err("once for each"), &words);
    queue.join().expect("all is done");
}

/// An object whose memory says that another version of the library has made it.
fn assert_version_is_told<T>(
    make: fn() -> T,
    take: impl Fn(T) -> Process<()>,
    method: StartMethod,
) {
    let segments = || {
        let all = proc::descriptors_of(std::process::id()).into_iter();
        all.filter(|(_, target)| target.contains("memfd:procession")).collect::<Vec<_>>()
    };
    let before = segments();
    let object = make();
    let new = segments().into_iter().find(|segment| !before.contains(segment));
    let path = format!("/proc/self/fd/{}", new.expect("it has memory").0);
    let memory = File::options().write(true).open(path).expect("it is ours");
    memory.write_at(&77u32.to_ne_bytes(), 8).expect("it is ours");
    let error = fail(take(object), method);
    let words = ["argument 1", "has layout 77, this program has layout", "need the same version"];
    says(&error, &words);
}

fn another_version_is_told_with_both(method: StartMethod) {
    fn one<T: Serialize + DeserializeOwned + Send + 'static>(make: fn() -> T, method: StartMethod) {
        assert_version_is_told(make, |object| Process::new(|_: T| (), (object,)), method);
    }
    one(|| Lock::new().expect("lock"), method);
    one(|| RLock::new().expect("lock"), method);
    one(|| Semaphore::new(1).expect("semaphore"), method);
    one(|| BoundedSemaphore::new(1).expect("semaphore"), method);
    one(|| Condition::new().expect("condition"), method);
    one(|| Event::new().expect("event"), method);
    one(|| Barrier::new(1).expect("barrier"), method);
    one(|| Mutex::new(1u8).expect("mutex"), method);
    one(|| Value::new(1u8).expect("value"), method);
    one(|| Array::<u8>::new(1).expect("array"), method);
    one(|| SharedMemory::new(1).expect("memory"), method);
    one(|| Queue::<u8>::unbounded().expect("queue"), method);
}

fn messages_that_cannot_be() {
    let queue = Queue::<serde_json::Value>::unbounded().expect("queue");
    queue.put(&serde_json::Value::Null).expect("it is written without asking");
    let error = queue.get().expect_err("it asks what it is");
    says(&error, &["the message of type", "cannot be decoded", "self-describing"]);
    let locks = Queue::unbounded().expect("queue");
    let many: Vec<_> = (0..254).map(|_| Lock::new().expect("lock")).collect();
    let error = locks.put(&many).expect_err("too many handles");
    says(&error, &["254 handles", "the most is", "253 handles"]);
    assert!(locks.is_empty());
}
