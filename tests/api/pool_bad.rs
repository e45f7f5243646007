//! Bad input to pools, and tasks that behave badly: each gets an error of its own, or does no harm.

use std::sync::mpsc;
use std::time::Duration;

use procession::{AsyncResult, Lock, Pool, PoolError, ResultTimeoutError, StartMethod, TaskError};
use procession_tests::{for_each_method, method_name, proc, program, sleep_long};

use crate::pool::{pool, square};

for_each_method! {
    numbers_that_are_none,
    times_without_end,
    settings_at_the_edges,
    a_callback_may_ask_for_anything,
    a_callback_may_end_the_pool,
    a_task_that_closes_everything,
    a_task_that_blocks_all_signals,
    a_task_that_ends_the_others_threads,
    tasks_that_write_and_read,
    large_values_in_every_way_at_once,
    many_tasks_before_the_first_is_asked_for,
}

fn says(error: TaskError, words: &str) {
    match error {
        TaskError::Invalid { message } => assert!(message.contains(words), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// Wherever a number is wrong, that is said, and nothing is submitted.
fn numbers_that_are_none(method: StartMethod) {
    let pool = pool(1, method);
    let none = || pool.options().chunk_size(0);
    says(none().map(square, 0..3).expect_err("no items"), "chunks of 0");
    says(none().try_map(square, 0..3).expect_err("no items"), "chunks of 0");
    says(none().starmap(u64::pow, [(1, 2)]).expect_err("no items"), "chunks of 0");
    let refused = none().map_async(square, vec![1, 2]).expect_err("no items");
    says(refused.error().clone(), "chunks of 0");
    assert_eq!(refused.into_args(), [1, 2]);
    let lazy: Vec<_> = none().imap_unordered(square, 0..).collect();
    assert_eq!(lazy.len(), 1, "{lazy:?}");
    let no_time = || pool.options().timeout(Duration::ZERO);
    says(no_time().map(square, 0..3).expect_err("no time"), "time limit of 0");
    let refused = no_time().apply_async(square, (7,)).expect_err("no time");
    says(refused.error().clone(), "time limit of 0");
    assert_eq!(refused.into_args(), (7,));
    for workers in [0, 10_000, usize::MAX] {
        assert!(matches!(pool.resize(workers), Err(PoolError::Invalid { .. })), "{workers}");
        let none = Pool::builder().workers(workers).start_method(method).build();
        assert!(matches!(none, Err(PoolError::Invalid { .. })), "{workers}");
        let threads = Pool::builder().workers(2).threads_per_worker(workers).start_method(method);
        assert!(matches!(threads.build(), Err(PoolError::Invalid { .. })), "{workers}");
    }
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.workers.len()), (0, 0, 1));
}

/// A wait for no time looks; one for more time than there is has no end of its own.
fn times_without_end(method: StartMethod) {
    let pool = Pool::builder().workers(1).task_timeout(Duration::MAX).start_method(method);
    let pool = pool.build().expect("a pool");
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    let for_ever = pool.options().timeout(Duration::MAX).retries(usize::MAX);
    assert_eq!(for_ever.map(square, 0..3), Ok(vec![0, 1, 4]));
    let result = for_ever.apply_async(square, (3,)).expect("it is open");
    assert!(result.wait(Duration::MAX));
    assert_eq!(result.get_timeout(Duration::MAX), Ok(9));
    let stuck = pool.apply_async(sleep_long, ()).expect("it is open");
    assert!(!stuck.wait(Duration::ZERO));
    assert!(matches!(stuck.get_timeout(Duration::ZERO), Err(ResultTimeoutError::Timeout)));
    pool.terminate();
    assert_eq!(stuck.get(), Err(TaskError::Terminated));
}

fn settings_at_the_edges(method: StartMethod) {
    let builder = || Pool::builder().workers(1).start_method(method);
    let pool = builder().max_tasks_per_child(usize::MAX).retries(usize::MAX).name("");
    let pool = pool.build().expect("a pool");
    let endless = pool.options().chunk_size(usize::MAX);
    assert_eq!(endless.map(square, 0..100), Ok((0..100).map(square).collect()));
    drop(pool);
    let pool = builder().name("名\n".repeat(100)).build().expect("a pool");
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    drop(pool);
    // With less memory than a process needs, no worker gets ready, and nobody waits for one.
    match builder().memory_limit(1).build() {
        Ok(pool) => match pool.apply(square, (3,)) {
            Err(TaskError::NoWorkers { message }) => assert!(!message.is_empty()),
            Err(TaskError::MemoryLimit { .. }) => {}
            other => panic!("{other:?}"),
        },
        Err(PoolError::Start(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// Callbacks have a thread of their own: they may wait for whatever ends without them.
fn a_callback_may_ask_for_anything(method: StartMethod) {
    let pool = std::sync::Arc::new(pool(2, method));
    let (sender, receiver) = mpsc::channel();
    let (own_sender, own) = mpsc::channel::<AsyncResult<u64>>();
    let asking = std::sync::Arc::clone(&pool);
    let result = pool.apply_async(square, (3,)).expect("it is open").callback(move |value| {
        let itself = own.recv().expect("it is sent").get();
        let one = asking.apply(square, (*value,));
        let many = asking.map(square, 0..100).map(|values| values.len());
        let lazy = asking.imap(square, 0..100).count();
        let later = asking.apply_async(square, (5,)).expect("it is open");
        let counts = asking.stats().done >= 202;
        drop(asking);
        sender.send((itself, one, many, lazy, later.get(), counts)).expect("it listens");
    });
    own_sender.send(result).expect("it listens");
    let told = receiver.recv_timeout(Duration::from_secs(60));
    assert_eq!(told, Ok((Ok(9), Ok(81), Ok(100), 100, Ok(25), true)));
}

fn a_callback_may_end_the_pool(method: StartMethod) {
    let ends: [fn(Pool); 3] = [
        |pool| pool.terminate(),
        drop,
        |pool| {
            pool.close();
            pool.join().expect("it is closed");
        },
    ];
    for end in ends {
        let pool = pool(2, method);
        let (give, take) = mpsc::channel::<Pool>();
        let (sender, receiver) = mpsc::channel();
        let result = pool.apply_async(square, (3,)).expect("it is open").callback(move |_| {
            end(take.recv().expect("it is sent"));
            sender.send(()).expect("it listens");
        });
        give.send(pool).expect("it listens");
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(()));
        assert_eq!(result.get(), Ok(9));
    }
}

/// It has lost what it needs for long values and handles; short ones go on.
fn a_task_that_closes_everything(method: StartMethod) {
    let pool = pool(1, method);
    let close_all = || {
        for descriptor in 0..1024 {
            // SAFETY: what was open is lost, which is what is tried.
            unsafe { libc::close(descriptor) };
        }
    };
    for _ in 0..3 {
        assert_eq!(pool.apply(close_all, ()), Ok(()));
        assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()));
        // This one it cannot send; it is replaced by one that can.
        let make = || Lock::new().map_err(|error| error.to_string());
        let first = pool.apply(make, ());
        assert!(!matches!(first, Ok(Ok(_))), "it has no descriptors: {first:?}");
        proc::wait_until(|| matches!(pool.apply(make, ()), Ok(Ok(_))));
        assert_eq!(pool.apply(close_all, ()), Ok(()));
        // Nor can it read this one.
        let long = |text: String| text.len();
        let first = pool.apply(long, ("x".repeat(1 << 20),));
        assert!(first == Ok(1 << 20) || matches!(first, Err(TaskError::Decode(_))), "{first:?}");
        proc::wait_until(|| pool.apply(long, ("x".repeat(1 << 20),)) == Ok(1 << 20));
    }
}

fn block_all_signals() {
    let mut all = std::mem::MaybeUninit::uninit();
    // SAFETY: it is filled in before it is used.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: as above.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut()) };
}

/// What ends workers cannot be blocked.
fn a_task_that_blocks_all_signals(method: StartMethod) {
    let pool = pool(1, method);
    assert_eq!(pool.apply(block_all_signals, ()), Ok(()));
    let late = pool.options().timeout(Duration::from_millis(20)).apply(sleep_long, ());
    assert!(matches!(late, Err(TaskError::TimedOut { .. })), "{late:?}");
    assert_eq!(pool.apply(block_all_signals, ()), Ok(()));
    let endless = pool.apply_async(sleep_long, ()).expect("it is open");
    proc::wait_until(|| pool.stats().running == 1);
    endless.cancel();
    assert_eq!(endless.get(), Err(TaskError::Cancelled));
    assert_eq!(pool.apply(block_all_signals, ()), Ok(()));
    let endless = pool.apply_async(sleep_long, ()).expect("it is open");
    drop(pool);
    assert_eq!(endless.get(), Err(TaskError::Terminated));
}

/// A thread that a task leaves behind ends the process later: another task is hurt, or none.
fn a_task_that_ends_the_others_threads(method: StartMethod) {
    let pool = pool(1, method);
    let leave_a_thread = || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            std::process::exit(0);
        });
    };
    assert_eq!(pool.apply(leave_a_thread, ()), Ok(()));
    let nap = |number: u64| {
        std::thread::sleep(Duration::from_millis(1));
        number
    };
    let outcomes = pool.options().chunk_size(5).try_map(nap, 0..100).expect("it is open");
    let hurt = outcomes.iter().filter(|outcome| match outcome {
        Ok(_) => false,
        Err(TaskError::WorkerDied { exit, .. }) => {
            assert_eq!(exit.code(), Some(0));
            true
        }
        Err(other) => panic!("{other:?}"),
    });
    assert!(hurt.count() <= 1, "{outcomes:?}");
}

fn tasks_that_write_and_read(method: StartMethod) {
    let mut running = program!("streams").arg("pool").arg(method_name(method)).start();
    running.say("a line for a task");
    let (status, stdout) = running.finish();
    assert!(status.success(), "{status}: {stdout}");
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
    expected.push("a task has read \"a line for a task\"".to_owned());
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// Nobody waits for who waits for it: neither with what goes there nor with what comes back.
fn large_values_in_every_way_at_once(method: StartMethod) {
    const LONG: usize = 1 << 20;
    let pool = pool(2, method);
    let back = |bytes: Vec<u8>| bytes;
    let large = |number: u8| vec![number; LONG];
    let one_by_one: Vec<_> =
        (0..20).map(|n| pool.apply_async(back, (large(n),)).expect("it is open")).collect();
    let at_once = pool.options().chunk_size(3).map_async(back, (0..20).map(large));
    let at_once = at_once.expect("it is open");
    for (number, value) in (0..20).zip(pool.imap(back, (0..20).map(large))) {
        assert!(value == Ok(large(number)), "{number}");
    }
    let values = at_once.get().expect("values");
    assert!((0..20).map(large).eq(values));
    for (number, result) in (0..20).zip(one_by_one).rev() {
        assert!(result.take() == Ok(large(number)), "{number}");
    }
}

/// No descriptor for each, and no outcome that is lost, however many wait.
fn many_tasks_before_the_first_is_asked_for(method: StartMethod) {
    const MANY: u64 = 1_000_000;
    let pool = pool(2, method);
    let before = proc::descriptors_of(std::process::id()).len();
    let results = pool.map_async(square, 0..MANY).expect("it is open");
    let others = pool.options().chunk_size(10).map_async(square, 0..MANY / 10);
    let others = others.expect("it is open");
    assert_eq!(proc::descriptors_of(std::process::id()).len(), before);
    assert!((0..MANY / 10).map(square).eq(others.get().expect("values")));
    assert!((0..MANY).map(square).eq(results.get().expect("values")));
    assert_eq!(pool.stats().done, MANY + MANY / 10);
}
