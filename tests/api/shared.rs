//! Memory that processes share: bounds, types, sizes, and what a death leaves.

use procession::{
    Array, CreateError, Lock, Mutex, Process, Queue, SharedMemory, StartMethod, Value, pipe,
};
use procession_tests::{fail, for_each_method, join, proc, start, tests};

for_each_method! {
    bytes_are_the_same_everywhere,
    a_hundred_mebibytes_are_not_copied,
    values_change_under_their_locks,
    a_dead_holder_is_told_with_the_value,
    objects_go_wherever_values_go,
    memory_is_gone_with_its_last_handle,
}

tests! {
    bounds_are_checked,
    what_cannot_be_made_is_refused,
    handles_mean_nothing_elsewhere,
    many_objects_come_and_go,
}

fn bytes_are_the_same_everywhere(method: StartMethod) {
    let memory = SharedMemory::new(10).expect("memory");
    let writes = |memory: SharedMemory| memory.write(8, &[1, 2]).expect("inside");
    join(Process::new(writes, (memory.clone(),)), method);
    let mut all = [9; 10];
    memory.read(0, &mut all).expect("inside");
    assert_eq!(all, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    let mut memory = memory;
    // SAFETY: nobody else has a handle any more.
    let bytes = unsafe { memory.as_mut_slice() };
    bytes[0] = 7;
    // SAFETY: as above.
    assert_eq!(unsafe { memory.as_slice() }[..2], [7, 0]);
}

fn a_hundred_mebibytes_are_not_copied(method: StartMethod) {
    let array = Array::<u64>::new(100 << 17).expect("memory");
    array.lock().expect("nobody dies")[5] = 1;
    let looks = |array: Array<u64>| {
        let mut guard = array.lock().expect("nobody dies");
        guard[6] = guard[5] + 1;
        (guard.len(), proc::memory())
    };
    let (length, private) = join(Process::new(looks, (array.clone(),)), method);
    assert_eq!((length, array.len()), (100 << 17, 100 << 17));
    assert!(private < 50 << 10, "the child has {private} KiB of its own");
    assert_eq!(array.lock().expect("nobody dies")[6], 2);
}

fn values_change_under_their_locks(method: StartMethod) {
    const TIMES: u64 = 2_000;
    let (value, mutex) = (Value::new(0u64).expect("value"), Mutex::new(0u128).expect("mutex"));
    let adds = |value: Value<u64>, mutex: Mutex<u128>| {
        for _ in 0..TIMES {
            *value.lock().expect("nobody dies") += 1;
            *mutex.lock().expect("nobody dies") += 1;
        }
    };
    let arguments = || (value.clone(), mutex.clone());
    let children: Vec<_> = (0..3).map(|_| start(Process::new(adds, arguments()), method)).collect();
    children.into_iter().for_each(|child| child.join().expect("it returns"));
    assert_eq!(value.get().expect("nobody dies"), 3 * TIMES);
    assert_eq!(*mutex.lock().expect("nobody dies"), u128::from(3 * TIMES));
    value.set(5).expect("nobody dies");
    let held = value.lock().expect("free");
    assert!(value.try_lock().expect("nobody dies").is_none());
    drop(held);
    let array = Array::from_slice(&[1.5f32, 2.5]).expect("array");
    assert_eq!(*array.lock().expect("nobody dies"), [1.5, 2.5]);
}

fn a_dead_holder_is_told_with_the_value(method: StartMethod) {
    let mutex = Mutex::new([1u32, 1]).expect("mutex");
    let dies_halfway = |mutex: Mutex<[u32; 2]>| {
        let mut pair = mutex.lock().expect("free");
        pair[0] = 2;
        std::process::abort();
    };
    let child = start(Process::<()>::new(dies_halfway, (mutex.clone(),)), method);
    let pid = child.pid();
    child.join().expect_err("it dies");
    let died = mutex.lock().expect_err("it is told");
    assert_eq!(died.pid(), pid);
    assert_eq!(**died.get_ref(), [2, 1], "what it has done is seen");
    drop(died.into_inner());
    assert_eq!(*mutex.lock().expect("it is told once"), [2, 1]);
    let value = Value::new(3u8).expect("value");
    let dies = |value: Value<u8>| {
        let _guard = value.lock().expect("free");
        std::process::abort();
    };
    fail(Process::<()>::new(dies, (value.clone(),)), method);
    assert_eq!(value.get().expect_err("it is told").into_inner(), 3);
}

fn objects_go_wherever_values_go(method: StartMethod) {
    let (ours, theirs) = pipe::<(Lock, Vec<Value<u32>>)>().expect("pipe");
    let works = |connection: procession::Connection<(Lock, Vec<Value<u32>>)>| {
        let (lock, values) = connection.recv().expect("one is sent");
        let _guard = lock.acquire().expect("nobody dies");
        values.iter().for_each(|value| *value.lock().expect("nobody dies") += 1);
        (values, Queue::<u8>::unbounded().expect("queue"))
    };
    let child = start(Process::new(works, (theirs,)), method);
    let value = Value::new(0).expect("value");
    // The same one twice is one.
    ours.send(&(Lock::new().expect("lock"), vec![value.clone(), value.clone()])).expect("send");
    let (values, queue) = child.join().expect("it returns");
    assert_eq!(value.get().expect("nobody dies"), 2);
    values[0].set(9).expect("nobody dies");
    assert_eq!(value.get().expect("nobody dies"), 9);
    queue.put(&1).expect("its maker is gone, it is not");
}

fn memory_is_gone_with_its_last_handle(method: StartMethod) {
    let segments = || {
        let all = proc::descriptors_of(std::process::id());
        all.iter().filter(|(_, target)| target.contains("memfd:procession")).count()
    };
    let before = segments();
    let memory = SharedMemory::new(100).expect("memory");
    let keeps = |memory: SharedMemory| {
        std::mem::forget(memory);
        std::process::abort();
    };
    fail(Process::<()>::new(keeps, (memory.clone(),)), method);
    assert_eq!(segments(), before + 1);
    drop(memory);
    assert_eq!(segments(), before);
    let files = std::fs::read_dir("/dev/shm").map_or(0, |files| {
        let names = files.flatten().map(|file| file.file_name());
        names.filter(|name| name.to_string_lossy().contains("procession")).count()
    });
    assert_eq!(files, 0);
}

fn bounds_are_checked() {
    let memory = SharedMemory::new(100).expect("memory");
    assert_eq!(memory.len(), 100);
    memory.write(100, &[]).expect("nothing, at the end");
    for (offset, count) in [(0, 101), (100, 1), (usize::MAX, 2), (1 << 40, 1)] {
        let error = memory.read(offset, &mut vec![0; count]).expect_err("outside").to_string();
        let expected = format!("{count} bytes at {offset} are not all inside");
        assert!(error.starts_with(&expected), "{error}");
        assert!(memory.write(offset, &vec![0; count]).is_err());
    }
}

fn what_cannot_be_made_is_refused() {
    let invalid = |error: CreateError| match error {
        CreateError::Invalid { message } => message,
        error => panic!("{error:?}"),
    };
    assert!(invalid(SharedMemory::new(0).expect_err("nothing")).contains("at least 1"));
    assert!(invalid(Array::<u32>::new(0).expect_err("nothing")).contains("0 elements of 4 bytes"));
    let huge = invalid(Array::<u64>::new(usize::MAX / 4).expect_err("too much"));
    assert!(huge.contains("at most"), "{huge}");
    let error = SharedMemory::new(1 << 50).expect_err("no machine has so much");
    assert!(matches!(error, CreateError::System(_)), "{error:?}");
    assert!(invalid(Queue::<u8>::bounded(0).expect_err("nothing")).contains("at least 1"));
}

fn handles_mean_nothing_elsewhere() {
    let lock = Lock::new().expect("lock");
    let error = serde_json::to_string(&lock).expect_err("not JSON").to_string();
    assert!(error.contains("procession handle"), "{error}");
    let queue = Queue::<u8>::unbounded().expect("queue");
    let error = serde_json::to_string(&queue).expect_err("not JSON").to_string();
    assert!(error.contains("procession handle"), "{error}");
}

fn many_objects_come_and_go() {
    for _ in 0..3 {
        let locks: Vec<_> = (0..300).map(|_| Lock::new().expect("lock")).collect();
        let guards: Vec<_> = locks.iter().map(|lock| lock.acquire().expect("free")).collect();
        assert_eq!(guards.len(), 300);
    }
}
