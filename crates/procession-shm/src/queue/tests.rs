use std::time::Duration;

use super::*;

#[test]
fn packets_of_dead_writers_make_room() {
    let queue = Queue::new(0).expect("queue");
    let bell = Bell::new().expect("bell");
    let orphan = || queue.packets_in.try_send(&[&[0; 8]], &[bell.handle()]);
    while orphan().is_ok() {}
    queue.put(b"well", &[bell.handle()], false, None).expect("there is room");
    let mut bytes = Vec::new();
    let taken = queue.get(&mut bytes, false, None).expect("it is there");
    assert_eq!((&bytes[..], taken.handles.len()), (&b"well"[..], 1));
}

#[test]
fn handles_that_are_gone_cost_one_message_and_nobody_waits_for_it() {
    let queue = Queue::new(1).expect("queue");
    let bell = Bell::new().expect("bell");
    queue.put(b"one", &[bell.handle()], false, None).expect("there is room");
    queue.packets_out.receive(&mut [0; 8], &mut Vec::new(), false).expect("a packet");
    let mut bytes = Vec::new();
    let got = queue.get(&mut bytes, true, None);
    assert!(matches!(got, Err(GetError::Garbage)), "{got:?}");
    let joined = queue.join(None).expect("it takes part");
    assert_eq!(joined, Err(Unfinished::Lost(1)));
    queue.put(b"two", &[], true, None).expect("there is room");
    queue.get(&mut bytes, true, None).expect("it is there");
    assert_eq!((&bytes[..], queue.len()), (&b"two"[..], 0));
    assert!(queue.task_done());
    assert_eq!(queue.join(None).expect("it takes part"), Ok(()));
}

#[test]
fn who_leaves_without_a_message_wakes_another() {
    let queue = &Queue::new(0).expect("queue");
    let (words, core) = (queue.segment.body(), &queue.segment.core);
    let get = |patience: u64| {
        let deadline = Some(Instant::now() + Duration::from_millis(patience));
        queue.get(&mut Vec::new(), true, deadline)
    };
    std::thread::scope(|scope| {
        let hurried = scope.spawn(move || get(100));
        std::thread::sleep(Duration::from_millis(20));
        let patient = scope.spawn(move || get(20_000));
        std::thread::sleep(Duration::from_millis(20));
        // Somebody else is in the middle of taking when the first of them is woken.
        let busy = Guard::acquire(core, &words.get, Turn::Until(None)).expect("lock");
        queue.put(b"one", &[], false, None).expect("there is room");
        let hurried = hurried.join().expect("no panic");
        drop(busy);
        // On a slow machine it may have slept so late that nobody had to leave.
        assert_ne!(patient.join().expect("no panic").is_ok(), hurried.is_ok());
    });
}

#[test]
fn who_does_not_fit_wakes_who_does() {
    let bell = Bell::new().expect("bell");
    let with_handle = [bell.handle()];
    let fill = |queue: &Queue| {
        let mut count = 1;
        queue.put(b"plain", &[], false, None).expect("there is room");
        while queue.put(b"handle", &with_handle, false, None).is_ok() {
            count += 1;
        }
        count
    };
    // As many as the wire has room for, behind a plain one, are as many as there may be.
    let limit = fill(&Queue::new(0).expect("queue"));
    let queue = &Queue::new(limit).expect("queue");
    assert_eq!(fill(queue), limit);
    let soon = || Some(Instant::now() + Duration::from_secs(20));
    std::thread::scope(|scope| {
        let large = scope.spawn(|| queue.put(b"handle", &with_handle, true, soon()));
        std::thread::sleep(Duration::from_millis(20));
        let small = scope.spawn(move || queue.put(b"plain", &[], true, soon()));
        std::thread::sleep(Duration::from_millis(20));
        // There is room for a message, but not for a handle.
        queue.get(&mut Vec::new(), false, None).expect("the plain one");
        small.join().expect("no panic").expect("there was room");
        while !large.is_finished() {
            let _ = queue.get(&mut Vec::new(), false, None);
        }
        large.join().expect("no panic").expect("there was room");
    });
}

#[test]
fn parts_are_one_message_and_what_is_there_can_be_had_at_once() {
    let queue = Queue::new(2).expect("queue");
    let mut bytes = Vec::new();
    assert!(queue.get_at_once(&mut bytes).is_none());
    queue.put_parts(&[b"one ", b"", b"message"], &[], true, None).expect("room");
    assert!(queue.put_at_once(b"short"));
    assert!(!queue.put_at_once(b"too many"), "it is full");
    assert!(queue.get_at_once(&mut bytes).is_some());
    assert_eq!(bytes, b"one message");
    assert!(queue.get_at_once(&mut bytes).is_some());
    assert_eq!(bytes, b"short");
    queue.put(&[1; 100_000], &[], true, None).expect("room");
    assert!(queue.get_at_once(&mut bytes).is_none(), "a large one takes longer");
    queue.get(&mut bytes, false, None).expect("it is there");
    assert_eq!(bytes.len(), 100_000);
}
