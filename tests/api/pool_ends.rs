//! Pools: deaths, time and memory limits, cancelling, and how a pool itself ends.

use std::time::{Duration, Instant};

use procession::{Event, Pool, PoolError, StartMethod, TaskError, Value};
use procession_tests::{for_each_method, proc, sleep_long};

use crate::pool::{pool, square};

for_each_method! {
    a_death_hurts_one_task,
    a_death_in_a_chunk_hurts_one_item,
    idle_workers_are_replaced,
    tasks_that_run_too_long,
    tasks_that_need_too_much,
    tasks_run_again_if_asked,
    tasks_are_cancelled,
    a_task_that_is_ended_too_late_hurts_no_other,
    a_pool_is_closed_and_joined,
    a_pool_is_terminated,
    initializers_that_fail,
    workers_that_cannot_be_replaced_do_not_hurt_the_others,
    tasks_that_exit_fork_and_close,
    bad_settings_are_refused,
    a_forked_copy_has_no_pool,
}

fn die(how: u32) -> u32 {
    match how {
        1 => std::process::abort(),
        2 => std::process::exit(3),
        3 => {
            // SAFETY: a signal to this process.
            unsafe { libc::raise(libc::SIGKILL) };
        }
        4 => {
            fn deeper(n: u64) -> u64 {
                let on_stack = std::hint::black_box([n; 1000]);
                if n == 0 { 0 } else { deeper(n - 1) + on_stack[3] }
            }
            std::hint::black_box(deeper(1 << 40));
        }
        _ => {}
    }
    how
}

fn a_death_hurts_one_task(method: StartMethod) {
    let pool = pool(2, method);
    for (how, signal, code) in [
        (1, Some(libc::SIGABRT), None),
        (2, None, Some(3)),
        (3, Some(libc::SIGKILL), None),
        (4, Some(libc::SIGABRT), None),
    ] {
        while pool.stats().workers.len() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let before: Vec<u32> = pool.stats().workers.iter().map(|worker| worker.pid).collect();
        match pool.apply(die, (how,)).expect_err("it dies") {
            TaskError::WorkerDied { pid, exit } => {
                assert!(before.contains(&pid), "{pid}");
                assert_eq!((exit.signal(), exit.code()), (signal, code), "{how}");
            }
            other => panic!("{other:?}"),
        }
    }
    // Many at once: each is hurt by its own death, and no other.
    let results = pool.options().chunk_size(1).try_map(die, (0..60).map(|n| n % 6)).expect("runs");
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), (1..=4).contains(&(number % 6)), "{number}: {result:?}");
    }
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed), (20, 44));
}

fn a_death_in_a_chunk_hurts_one_item(method: StartMethod) {
    let pool = pool(2, method);
    let deadly = |n: u32| if n % 25 == 7 { die(1) } else { n };
    for chunk in [1, 10, 100, 1000] {
        let results = pool.options().chunk_size(chunk).try_map(deadly, 0..200).expect("submitted");
        for (number, result) in results.iter().enumerate() {
            match result {
                Ok(value) => assert_eq!(*value as usize, number),
                Err(error) => {
                    assert!(matches!(error, TaskError::WorkerDied { .. }), "{error:?}");
                    assert_eq!(number % 25, 7);
                }
            }
        }
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 8, "{chunk}");
    }
}

fn idle_workers_are_replaced(method: StartMethod) {
    let pool = pool(3, method);
    assert_eq!(pool.map(square, 0..10), Ok((0..10).map(square).collect()));
    let before = pool.stats();
    for worker in &before.workers {
        // SAFETY: a signal to a child of ours.
        unsafe { libc::kill(worker.pid.cast_signed(), libc::SIGKILL) };
    }
    let results = pool.try_map(square, 0..100).expect("submitted");
    assert!(results.iter().all(Result::is_ok), "nobody was at a task: {results:?}");
    while pool.stats().restarts < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(pool.stats().workers.iter().all(|new| before.workers.iter().all(|w| w.pid != new.pid)));
}

fn tasks_that_run_too_long(method: StartMethod) {
    let limit = Duration::from_millis(100);
    let pool = Pool::builder().workers(2).start_method(method).task_timeout(limit);
    let pool = pool.build().expect("a pool");
    let stuck = |n: u32| {
        if n % 10 == 3 {
            sleep_long();
        }
        n
    };
    for chunk in [1, 20] {
        let results = pool.options().chunk_size(chunk).try_map(stuck, 0..40).expect("submitted");
        for (number, result) in results.iter().enumerate() {
            let expected = if number % 10 == 3 {
                Err(TaskError::TimedOut { after: limit })
            } else {
                Ok(number as u32)
            };
            assert_eq!(*result, expected, "{number}");
        }
    }
    // The time before a worker begins does not count.
    let slow = |_: u32| std::thread::sleep(Duration::from_millis(30));
    assert!(pool.options().chunk_size(1).map(slow, 0..20).is_ok());
    let other = Duration::from_millis(50);
    let error = pool.options().timeout(other).apply(sleep_long, ()).expect_err("it is stuck");
    assert_eq!(error, TaskError::TimedOut { after: other });
    // Nobody waits for it, and it ends all the same.
    let result = pool.apply_async(sleep_long, ()).expect("submitted");
    let pid = loop {
        if let Some(busy) = pool.stats().workers.iter().find(|worker| worker.busy) {
            break busy.pid;
        }
    };
    while proc::is_running(pid) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(matches!(result.get(), Err(TaskError::TimedOut { .. })));
}

fn tasks_that_need_too_much(method: StartMethod) {
    let limit = 64 << 20;
    let pool = Pool::builder().workers(1).start_method(method).memory_limit(limit);
    let pool = pool.build().expect("a pool");
    let fill = |bytes: usize| std::hint::black_box(vec![1u8; bytes]).len();
    assert_eq!(pool.apply(fill, (1 << 20,)), Ok(1 << 20));
    match pool.apply(fill, (100 << 20,)).expect_err("too much") {
        TaskError::MemoryLimit { limit: told, .. } => assert_eq!(told, Some(limit)),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.apply(fill, (1 << 20,)), Ok(1 << 20));
}

fn tasks_run_again_if_asked(method: StartMethod) {
    let pool = pool(2, method);
    let counter = procession::Value::<u64>::new(0).expect("value");
    let third_time = |counter: procession::Value<u64>| {
        let times = {
            let mut value = counter.lock().expect("nobody holds it");
            *value += 1;
            *value
        };
        if times % 3 != 0 {
            std::process::abort();
        }
        times
    };
    assert_eq!(pool.options().retries(2).apply(third_time, (counter.clone(),)), Ok(3));
    let error = pool.options().retries(1).apply(third_time, (counter.clone(),));
    assert!(matches!(error, Err(TaskError::WorkerDied { .. })), "{error:?}");
    assert_eq!(*counter.lock().expect("nobody holds it"), 5, "once, and once again");
    // A panic is an outcome.
    let panics = |counter: procession::Value<u64>| {
        *counter.lock().expect("nobody holds it") += 1;
        assert!(procession::cpu_count() == 0, "again?");
    };
    let error = pool.options().retries(5).apply(panics, (counter.clone(),));
    assert!(matches!(error, Err(TaskError::Panicked { .. })), "{error:?}");
    assert_eq!(*counter.lock().expect("nobody holds it"), 6);
    let limit = Duration::from_millis(40);
    let started = Instant::now();
    let stuck = pool.options().timeout(limit).retries(2).apply(sleep_long, ());
    assert_eq!(stuck, Err(TaskError::TimedOut { after: limit }));
    assert!(started.elapsed() >= 3 * limit, "it has run three times");
}

fn tasks_are_cancelled(method: StartMethod) {
    let pool = pool(1, method);
    let running = pool.apply_async(sleep_long, ()).expect("submitted");
    let queued = pool.apply_async(square, (3,)).expect("submitted");
    let next = pool.apply_async(square, (4,)).expect("submitted");
    while !pool.stats().workers.iter().any(|worker| worker.busy) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(queued.cancel());
    assert_eq!(queued.get(), Err(TaskError::Cancelled));
    assert!(!queued.cancel() && !running.ready());
    assert!(running.cancel());
    assert_eq!(running.get(), Err(TaskError::Cancelled));
    assert_eq!(next.get(), Ok(16), "it had only been queued behind");
    let many = pool.options().chunk_size(10).map_async(
        |n: u32| {
            std::thread::sleep(Duration::from_millis(u64::from(n)));
            n
        },
        [0, 0, 0, 3_600_000, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    let many = many.expect("submitted");
    while !pool.stats().workers.iter().any(|worker| worker.busy) {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert!(many.cancel());
    let results = many.get_all();
    assert_eq!(results[11], Err(TaskError::Cancelled));
    assert_eq!(results[3], Err(TaskError::Cancelled));
    assert_eq!(pool.apply(square, (5,)), Ok(25));
}

/// A worker that is to be killed for a task may be done with it by then. Whatever it would be at next
/// has nothing to do with that.
fn a_task_that_is_ended_too_late_hurts_no_other(method: StartMethod) {
    let spin = |microseconds: u64| {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(microseconds) {
            std::hint::spin_loop();
        }
        microseconds
    };
    let alone = pool(1, method);
    for round in 0..300 {
        let results = [20, 21, 22, 23, 24, 25, 26, 27]
            .map(|time| alone.apply_async(spin, (time,)).expect("submitted"));
        while !results[0].ready() && round % 3 > 0 {}
        for time in [20, 22, 24, 26] {
            results[time - 20].cancel();
        }
        for (number, result) in results.iter().enumerate() {
            match result.get() {
                Ok(time) => assert_eq!(time, 20 + number as u64),
                Err(error) => assert_eq!((error, number % 2), (TaskError::Cancelled, 0), "{round}"),
            }
        }
    }
    // Some end just in time, some do not. On a machine that is busy with other things a short one may
    // take as long; what none may is die for another.
    let limit = Duration::from_millis(1);
    let limited = Pool::builder().workers(1).start_method(method).task_timeout(limit);
    let limited = limited.build().expect("a pool");
    let times = (0..600).map(|number| if number % 2 == 0 { 990 + number / 20 } else { 1 });
    for chunk in [1, 10] {
        let results = limited.options().chunk_size(chunk).try_map(spin, times.clone());
        for (number, result) in results.expect("submitted").iter().enumerate() {
            if let Err(error) = result {
                assert_eq!(*error, TaskError::TimedOut { after: limit }, "{number}");
            }
        }
    }
}

fn a_pool_is_closed_and_joined(method: StartMethod) {
    let pool = pool(2, method);
    assert!(matches!(pool.join(), Err(PoolError::StillOpen)));
    let results = pool.map_async(square, 0..1000).expect("submitted");
    pool.close();
    let refused = pool.apply_async(square, (7,)).expect_err("closed");
    assert_eq!(*refused.error(), TaskError::Closed);
    assert_eq!(refused.into_args(), (7,));
    let refused = pool.map_async(square, vec![1, 2]).expect_err("closed");
    assert_eq!(refused.into_args(), [1, 2]);
    assert_eq!(pool.apply(square, (7,)), Err(TaskError::Closed));
    assert_eq!(pool.map(square, [7]), Err(TaskError::Closed));
    let lazy: Vec<_> = pool.imap(square, 0..).collect();
    assert_eq!(lazy, [Err(TaskError::Closed)]);
    pool.join().expect("it is closed");
    assert!(results.ready());
    assert_eq!(results.get(), Ok((0..1000).map(square).collect()));
    pool.join().expect("once more");
    assert_eq!(pool.stats().workers.len(), 0);
}

fn a_pool_is_terminated(method: StartMethod) {
    let pool = pool(2, method);
    let results = pool.options().chunk_size(1).map_async(
        |n: u32| {
            if n >= 3 {
                sleep_long();
            }
            n
        },
        0..1000,
    );
    let results = results.expect("submitted");
    let single = pool.apply_async(square, (3,)).expect("submitted");
    while pool.stats().done < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| single.get());
        pool.terminate();
        assert_eq!(waiting.join().expect("it waits"), Err(TaskError::Terminated));
    });
    let results = results.get_all();
    assert_eq!(results[..3], [Ok(0), Ok(1), Ok(2)]);
    assert!(results[3..].iter().all(|result| *result == Err(TaskError::Terminated)));
    pool.join().expect("it is terminated");
    pool.terminate();
    assert_eq!(pool.apply(square, (7,)), Err(TaskError::Closed));
    // Dropping does it, too; what is held of its tasks says so.
    let other = self::pool(1, method);
    let stuck = other.apply_async(sleep_long, ()).expect("submitted");
    drop(other);
    assert_eq!(stuck.get(), Err(TaskError::Terminated));
}

fn initializers_that_fail(method: StartMethod) {
    let builder = || Pool::builder().workers(2).start_method(method);
    let pool =
        builder().initializer(|| assert_eq!(1, 2, "no licence"), ()).build().expect("a pool");
    let error = pool.apply(square, (3,)).expect_err("no worker gets ready");
    match &error {
        TaskError::NoWorkers { message } => {
            assert!(
                message.contains("no licence") && message.contains("pool_ends.rs"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(pool.apply(square, (3,)), Err(TaskError::NoWorkers { .. })));
    let pool = builder().initializer(|| die(3), ()).build().expect("a pool");
    match pool.map(square, 0..10).expect_err("no worker gets ready") {
        TaskError::NoWorkers { message } => assert!(message.contains("signal 9"), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// Only the first one comes up: it goes on with what it is at, however often the other fails.
fn workers_that_cannot_be_replaced_do_not_hurt_the_others(method: StartMethod) {
    fn only_once(count: Value<u32>) {
        let mut count = count.lock().expect("nobody dies with it");
        *count += 1;
        assert!(*count == 1, "no second licence");
    }
    let count = Value::new(0).expect("a value");
    let pool = Pool::builder().workers(2).start_method(method);
    let pool = pool.initializer(only_once, (count.clone(),)).build().expect("a pool");
    let event = Event::new().expect("an event");
    let long = pool.apply_async(|event: Event| event.wait(), (event.clone(),)).expect("it is open");
    // A pool without any worker would have failed by now.
    proc::wait_until(|| count.get().expect("nobody dies with it") > 6);
    assert_eq!(pool.stats().running, 1);
    event.set();
    assert_eq!(long.get(), Ok(()));
    assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()));
}

fn tasks_that_exit_fork_and_close(method: StartMethod) {
    let pool = pool(1, method);
    match pool
        .apply(
            || {
                if true {
                    std::process::exit(0)
                }
            },
            (),
        )
        .expect_err("it has exited")
    {
        TaskError::WorkerDied { exit, .. } => assert_eq!(exit.code(), Some(0)),
        other => panic!("{other:?}"),
    }
    let fork = || {
        // SAFETY: the copy goes back into the worker's loop, which ends it.
        let copy = unsafe { libc::fork() };
        if copy > 0 {
            // SAFETY: our own child.
            unsafe { libc::waitpid(copy, std::ptr::null_mut(), 0) };
        }
        copy > 0
    };
    assert_eq!(pool.apply(fork, ()), Ok(true));
    assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()));
    let close_all = || {
        for descriptor in 3..200 {
            // SAFETY: what was open is lost, which is what is tried.
            unsafe { libc::close(descriptor) };
        }
    };
    assert_eq!(pool.apply(close_all, ()), Ok(()));
    // Short ones work on; a long one cannot, and the worker that says so is replaced.
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    let long = |size: usize| "x".repeat(size);
    assert!(pool.apply(long, (1 << 20,)).is_err());
    assert_eq!(pool.apply(long, (1 << 20,)).map(|text| text.len()), Ok(1 << 20));
    let block = || {
        let mut all = std::mem::MaybeUninit::uninit();
        // SAFETY: it is filled in before it is used.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: as above.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut()) };
    };
    assert_eq!(pool.apply(block, ()), Ok(()));
    pool.terminate();
}

fn bad_settings_are_refused(method: StartMethod) {
    let message = |error: PoolError| match error {
        PoolError::Invalid { message } => message,
        other => panic!("{other:?}"),
    };
    assert!(message(Pool::new(0).expect_err("none")).contains("at least one worker"));
    assert!(message(Pool::new(10_000).expect_err("too many")).contains("the most is"));
    let builder = || Pool::builder().workers(1).start_method(method);
    let no_time = builder().task_timeout(Duration::ZERO).build();
    assert!(message(no_time.expect_err("no time")).contains("time limit of 0"));
    let no_tasks = builder().max_tasks_per_child(0).build();
    assert!(message(no_tasks.expect_err("no tasks")).contains("0 tasks"));
    assert!(message(builder().threads_per_worker(0).build().expect_err("none")).contains("thread"));
    let pool = builder().build().expect("a pool");
    let invalid = |error: TaskError| match error {
        TaskError::Invalid { message } => message,
        other => panic!("{other:?}"),
    };
    let error = pool.map_chunked(square, 0..10, 0).expect_err("no items");
    assert!(invalid(error).contains("chunks of 0"));
    let error = pool.options().timeout(Duration::ZERO).apply(square, (1,)).expect_err("no time");
    assert!(invalid(error).contains("time limit of 0"));
    let lazy: Vec<_> = pool.options().chunk_size(0).imap(square, 0..10).collect();
    assert!(matches!(&lazy[..], [Err(TaskError::Invalid { .. })]), "{lazy:?}");
}

fn a_forked_copy_has_no_pool(method: StartMethod) {
    let pool = pool(1, method);
    let result = pool.apply_async(sleep_long, ()).expect("submitted");
    // SAFETY: the copy does nothing that needs another thread.
    let child = unsafe {
        procession::fork(move || {
            let refused = pool.apply(square, (3,)) == Err(TaskError::Closed);
            let nothing = result.get() == Err(TaskError::Closed);
            let join = matches!(pool.join(), Err(PoolError::NotOurs));
            drop(pool); // the original's workers are not its own
            (refused, nothing, join)
        })
    };
    // The original of the pool went into the closure, and is dropped here.
    assert_eq!(child.expect("forked").join().expect("a value"), (true, true, true));
}
