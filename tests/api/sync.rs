//! Locks, semaphores, conditions, events and barriers between processes.

use std::time::Duration;

use procession::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, Process, RLock, Semaphore, SharedMemory,
    StartMethod, Value, pipe,
};
use procession_tests::{fail, for_each_method, join, proc, sleep_long, start};

for_each_method! {
    a_lock_is_one_processes_at_a_time,
    a_lock_is_given_up_by_whoever_says_so,
    a_dead_holder_is_told_to_the_next,
    a_dead_holder_is_told_to_one_of_those_who_wait,
    a_holder_that_forgets_and_exits_is_told,
    a_reentrant_lock_is_one_threads,
    permits_come_back_from_the_dead,
    permits_are_given_by_others,
    a_notification_wakes_as_many_as_it_says,
    a_condition_waits_no_longer_than_it_is_told,
    an_event_wakes_all_and_a_pulse_who_was_there,
    parties_meet_again_and_again,
    a_barrier_breaks_and_is_mended,
    a_dead_party_breaks_the_barrier,
}

const SHORT: Duration = Duration::from_millis(5);

fn count_up(lock: Lock, memory: SharedMemory, times: u32) {
    for _ in 0..times {
        let _guard = lock.acquire().expect("nobody dies");
        let mut number = [0; 4];
        memory.read(0, &mut number).expect("inside");
        let number = u32::from_ne_bytes(number) + 1;
        memory.write(0, &number.to_ne_bytes()).expect("inside");
    }
}

fn a_lock_is_one_processes_at_a_time(method: StartMethod) {
    const TIMES: u32 = 5_000;
    let (lock, memory) = (Lock::new().expect("lock"), SharedMemory::new(4).expect("memory"));
    let child = |_| start(Process::new(count_up, (lock.clone(), memory.clone(), TIMES)), method);
    let children: Vec<_> = (0..3).map(child).collect();
    count_up(lock, memory.clone(), TIMES);
    children.into_iter().for_each(|child| child.join().expect("it returns"));
    let mut number = [0; 4];
    memory.read(0, &mut number).expect("inside");
    assert_eq!(u32::from_ne_bytes(number), 4 * TIMES);
}

fn a_lock_is_given_up_by_whoever_says_so(method: StartMethod) {
    let lock = Lock::new().expect("lock");
    let error = lock.release().expect_err("nobody holds it").to_string();
    assert!(error.contains("not held"), "{error}");
    let guard = lock.acquire().expect("free");
    assert!(lock.is_locked());
    assert!(lock.try_acquire().expect("nobody dies").is_none());
    assert!(lock.acquire_timeout(SHORT).expect("nobody dies").is_none());
    join(Process::new(|lock: Lock| lock.release().expect("it is held"), (lock.clone(),)), method);
    assert!(!lock.is_locked());
    // The guard of before gives up nothing any more.
    let other = lock.acquire().expect("free");
    std::mem::forget(other);
    join(Process::new(|lock: Lock| lock.release().expect("it is held"), (lock.clone(),)), method);
    drop(guard);
    assert!(lock.release().is_err());
}

fn hold_and_die(lock: Lock) {
    std::mem::forget(lock.acquire().expect("free"));
    std::process::abort();
}

fn a_dead_holder_is_told_to_the_next(method: StartMethod) {
    let lock = Lock::new().expect("lock");
    let dies = || {
        let child = start(Process::new(hold_and_die, (lock.clone(),)), method);
        let pid = child.pid();
        child.join().expect_err("it dies");
        pid
    };
    let pid = dies();
    let died = lock.acquire().expect_err("it is told");
    assert_eq!(died.pid(), pid);
    assert!(died.to_string().contains(&pid.to_string()), "{died}");
    drop(died.into_inner());
    drop(lock.acquire().expect("it is told once"));
    dies();
    let died = lock.try_acquire().expect_err("it is told");
    drop(died.into_inner());
    dies();
    let died = lock.acquire_timeout(Duration::from_secs(60)).expect_err("it is told");
    drop(died.into_inner());
    assert!(!lock.is_locked());
}

fn a_dead_holder_is_told_to_one_of_those_who_wait(method: StartMethod) {
    let (lock, holds) = (Lock::new().expect("lock"), Event::new().expect("event"));
    let holder = |lock: Lock, holds: Event| {
        let _guard = lock.acquire().expect("free");
        holds.set();
        sleep_long();
    };
    let holder = start(Process::new(holder, (lock.clone(), holds.clone())), method);
    holds.wait();
    let waits = |lock: Lock| match lock.acquire() {
        Ok(_) => 0,
        Err(_) => 1,
    };
    let waiter = |_| start(Process::new(waits, (lock.clone(),)), method);
    let waiters: Vec<_> = (0..3).map(waiter).collect();
    holder.kill().expect("it is ours");
    let told: i32 = waiters.into_iter().map(|waiter| waiter.join().expect("it returns")).sum();
    assert_eq!(told, 1);
    holder.join().expect_err("it was killed");
}

fn a_holder_that_forgets_and_exits_is_told(method: StartMethod) {
    let lock = Lock::new().expect("lock");
    let forgets = |lock: Lock| std::mem::forget(lock.acquire().expect("free"));
    join(Process::new(forgets, (lock.clone(),)), method);
    drop(lock.acquire().expect_err("it is told").into_inner());
}

fn a_reentrant_lock_is_one_threads(method: StartMethod) {
    let lock = RLock::new().expect("lock");
    let first = lock.acquire().expect("free");
    let second = lock.acquire().expect("ours");
    let is_free = |lock: RLock| {
        let got = lock.try_acquire().expect("nobody dies").is_some();
        got && lock.release().is_err()
    };
    let elsewhere = || join(Process::new(is_free, (lock.clone(),)), method);
    assert!(!elsewhere());
    let in_thread = std::thread::scope(|scope| {
        let other = scope.spawn(|| lock.try_acquire().expect("nobody dies").is_some());
        let released = scope.spawn(|| lock.release().is_err());
        (other.join().expect("thread"), released.join().expect("thread"))
    });
    assert_eq!(in_thread, (false, true));
    drop(first);
    assert!(!elsewhere());
    drop(second);
    assert!(elsewhere());
    let dies = |lock: RLock| {
        std::mem::forget((lock.acquire().expect("free"), lock.acquire().expect("ours")));
        std::process::abort();
    };
    fail(Process::<()>::new(dies, (lock.clone(),)), method);
    let guard = lock.acquire().expect_err("it is told").into_inner();
    drop(guard);
    assert!(!lock.is_locked(), "taken once, given up once");
}

fn permits_come_back_from_the_dead(method: StartMethod) {
    let semaphore = Semaphore::new(3).expect("semaphore");
    let dies = |semaphore: Semaphore| {
        std::mem::forget((semaphore.acquire().expect("one"), semaphore.acquire().expect("two")));
        std::process::abort();
    };
    let child = start(Process::<()>::new(dies, (semaphore.clone(),)), method);
    let pid = child.pid();
    child.join().expect_err("it dies");
    let one = semaphore.acquire().unwrap_or_else(|died| died.into_inner());
    let two = semaphore.acquire().unwrap_or_else(|died| {
        assert_eq!(died.pid(), pid);
        died.into_inner()
    });
    let three = semaphore.acquire().unwrap_or_else(|died| died.into_inner());
    assert!(semaphore.try_acquire().expect("told already").is_none());
    drop((one, two, three));
    assert_eq!(semaphore.value(), 3);
}

fn permits_are_given_by_others(method: StartMethod) {
    let semaphore = Semaphore::new(0).expect("semaphore");
    assert!(semaphore.try_acquire().expect("nobody dies").is_none());
    let gives = |semaphore: Semaphore| (0..3).for_each(|_| semaphore.release().expect("room"));
    let child = start(Process::new(gives, (semaphore.clone(),)), method);
    for _ in 0..3 {
        std::mem::forget(semaphore.acquire().expect("it is given"));
    }
    child.join().expect("it returns");
    assert_eq!(semaphore.value(), 0);
    // What was given for one that dies does not come back once more.
    let bounded = BoundedSemaphore::new(1).expect("semaphore");
    assert!(bounded.release().expect_err("one too many").to_string().contains("as many"));
    let (taken, die) = (Event::new().expect("event"), Event::new().expect("event"));
    let takes = |bounded: BoundedSemaphore, taken: Event, die: Event| {
        std::mem::forget(bounded.acquire().expect("one"));
        taken.set();
        die.wait();
        std::process::abort();
    };
    let arguments = (bounded.clone(), taken.clone(), die.clone());
    let child = start(Process::<()>::new(takes, arguments), method);
    taken.wait();
    bounded.release().expect("for the child");
    die.set();
    child.join().expect_err("it dies");
    drop(bounded.acquire().unwrap_or_else(|died| died.into_inner()));
    assert_eq!(bounded.value(), 1);
}

/// Waits to be notified, says so, and returns.
fn wait_in(condition: Condition, waiting: Value<u32>, woken: Value<u32>) {
    let guard = condition.acquire().expect("nobody dies");
    *waiting.lock().expect("nobody dies") += 1;
    let _guard = condition.wait(guard).expect("nobody dies");
    *woken.lock().expect("nobody dies") += 1;
}

fn a_notification_wakes_as_many_as_it_says(method: StartMethod) {
    let condition = Condition::new().expect("condition");
    let (waiting, woken) = (Value::new(0).expect("value"), Value::new(0).expect("value"));
    let arguments = || (condition.clone(), waiting.clone(), woken.clone());
    let children: Vec<_> =
        (0..5).map(|_| start(Process::new(wait_in, arguments()), method)).collect();
    let count = |value: &Value<u32>| value.get().expect("nobody dies");
    proc::wait_until(|| count(&waiting) == 5);
    for (notified, expected) in [(1, 1), (2, 3)] {
        let guard = condition.acquire().expect("nobody dies");
        condition.notify(notified);
        drop(guard);
        proc::wait_until(|| count(&woken) == expected);
        // The others stay: whoever woke wrongly would be counted by the time two more locks are had.
        (0..200).for_each(|_| drop(condition.acquire().expect("nobody dies")));
        std::thread::sleep(SHORT);
        assert_eq!(count(&woken), expected);
    }
    condition.notify_all();
    children.into_iter().for_each(|child| child.join().expect("all are woken"));
    assert_eq!(count(&woken), 5);
}

fn a_condition_waits_no_longer_than_it_is_told(method: StartMethod) {
    let (condition, value) = (Condition::new().expect("condition"), Value::new(0).expect("value"));
    let guard = condition.acquire().expect("free");
    let (guard, notified) = condition.wait_timeout(guard, SHORT).expect("nobody dies");
    assert!(!notified);
    assert!(condition.try_acquire().expect("nobody dies").is_none(), "it is held again");
    let sets = |condition: Condition, value: Value<u32>| {
        let _guard = condition.acquire().expect("nobody dies");
        value.set(3).expect("nobody dies");
        condition.notify(1);
    };
    let child = start(Process::new(sets, (condition.clone(), value.clone())), method);
    let is_unset = || value.get().expect("nobody dies") == 0;
    let guard = condition.wait_while(guard, is_unset).expect("nobody dies");
    // A time limit is one for all of the waits together.
    let (guard, done) = condition.wait_timeout_while(guard, SHORT, is_unset).expect("nobody dies");
    assert!(done, "it is set already");
    let (guard, done) = condition.wait_timeout_while(guard, SHORT, || true).expect("nobody dies");
    assert!(!done && condition.acquire_timeout(SHORT).expect("nobody dies").is_none());
    drop(guard);
    drop(condition.acquire_timeout(SHORT).expect("nobody dies").expect("it is free"));
    child.join().expect("it returns");
    // A waiter whose fellow dies with the lock is told.
    let dies = |condition: Condition| {
        std::mem::forget(condition.acquire().expect("free while the other waits"));
        condition.notify_all();
        std::process::abort();
    };
    let guard = condition.acquire().expect("free");
    let child = start(Process::<()>::new(dies, (condition.clone(),)), method);
    drop(condition.wait(guard).expect_err("it is told").into_inner());
    child.join().expect_err("it dies");
}

fn an_event_wakes_all_and_a_pulse_who_was_there(method: StartMethod) {
    let (event, waiting) = (Event::new().expect("event"), Value::new(0u32).expect("value"));
    assert!(!event.is_set() && !event.wait_timeout(SHORT));
    let waits = |event: Event, waiting: Value<u32>| {
        *waiting.lock().expect("nobody dies") += 1;
        event.wait();
    };
    let arguments = || (event.clone(), waiting.clone());
    let children: Vec<_> =
        (0..4).map(|_| start(Process::new(waits, arguments()), method)).collect();
    proc::wait_until(|| waiting.get().expect("nobody dies") == 4);
    // Asleep, or about to be.
    let asleep = |child: &procession::Child<()>| {
        proc::entry(child.pid()).is_some_and(|entry| entry.state == 'S')
    };
    proc::wait_until(|| children.iter().all(asleep));
    event.set();
    event.clear();
    children.into_iter().for_each(|child| child.join().expect("the pulse was for it"));
    assert!(!event.is_set() && !event.wait_timeout(SHORT));
    event.set();
    assert!(event.is_set() && event.wait_timeout(SHORT));
    join(Process::new(|event: Event| event.wait(), (event.clone(),)), method);
}

fn parties_meet_again_and_again(method: StartMethod) {
    const ROUNDS: usize = 100;
    let barrier = Barrier::new(4).expect("barrier");
    let meets = |barrier: Barrier| -> Vec<usize> {
        (0..ROUNDS).map(|_| barrier.wait().expect("all come")).collect()
    };
    let child = |_| start(Process::new(meets, (barrier.clone(),)), method);
    let children: Vec<_> = (0..3).map(child).collect();
    let mut all = vec![meets(barrier)];
    all.extend(children.into_iter().map(|child| child.join().expect("it returns")));
    for round in 0..ROUNDS {
        let mut places: Vec<_> = all.iter().map(|places| places[round]).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3], "round {round}");
    }
}

fn a_barrier_breaks_and_is_mended(method: StartMethod) {
    assert!(Barrier::new(0).expect_err("nobody").to_string().contains("at least 1"));
    assert_eq!(Barrier::new(1).expect("barrier").wait().expect("it is all"), 0);
    let barrier = Barrier::new(2).expect("barrier");
    let waits = |barrier: Barrier| barrier.wait().expect_err("it breaks").to_string();
    for end in [Barrier::abort as fn(&Barrier), Barrier::reset] {
        let child = start(Process::new(waits, (barrier.clone(),)), method);
        proc::wait_until(|| barrier.n_waiting() == 1);
        end(&barrier);
        assert!(child.join().expect("it returns").contains("aborted or reset"));
        barrier.reset();
    }
    barrier.wait_timeout(SHORT).expect_err("nobody else comes");
    assert!(barrier.is_broken());
    barrier.wait().expect_err("it stays broken");
    barrier.reset();
    let child =
        start(Process::new(|b: Barrier| b.wait().expect("two"), (barrier.clone(),)), method);
    barrier.wait().expect("two");
    child.join().expect("it returns");
}

fn a_dead_party_breaks_the_barrier(method: StartMethod) {
    let barrier = Barrier::new(3).expect("barrier");
    let waits = |barrier: Barrier| drop(barrier.wait());
    let victim = start(Process::new(waits, (barrier.clone(),)), method);
    let other = |barrier: Barrier| barrier.wait().expect_err("it breaks").to_string();
    let other = start(Process::new(other, (barrier.clone(),)), method);
    proc::wait_until(|| barrier.n_waiting() == 2);
    victim.kill().expect("it is ours");
    let error = other.join().expect("it returns");
    assert!(error.contains(&format!("process {} died", victim.pid())), "{error}");
    victim.join().expect_err("it was killed");
    // Every object goes where a message goes.
    let (ours, theirs) = pipe::<Barrier>().expect("pipe");
    ours.send(&barrier).expect("send");
    assert!(theirs.recv().expect("receive").is_broken());
}
