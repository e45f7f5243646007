//! `wait` for several things at once.

use std::time::{Duration, Instant};

use procession::{
    Child, Connection, Process, Receiver, Sender, StartMethod, WaitError, Waitable, pipe, simplex,
    wait,
};
use procession_tests::{for_each_method, sleep_long, start, tests};

for_each_method!(
    children_and_pipes_together,
    a_child_that_has_been_waited_for_is_ready,
    every_end_of_a_child_counts,
    the_first_to_answer,
    a_child_that_another_thread_joins,
    many_things,
);
tests!(only_looking, for_a_while, everything_that_is_ready, nothing_at_all, the_same_thing_twice);

const NOW: Option<Duration> = Some(Duration::ZERO);
const NONE: [usize; 0] = [];

/// Returns 7 when the other end of its pipe is gone.
fn when_released(until: Receiver<()>) -> u8 {
    assert!(until.recv().is_err());
    7
}

fn held(method: StartMethod) -> (Child<u8>, Sender<()>) {
    let (until, release) = simplex().expect("pipe");
    (start(Process::new(when_released, (until,)), method), release)
}

fn only_looking() {
    let (a, b) = pipe::<u8>().expect("pipe");
    let (rx, tx) = simplex::<u8>().expect("pipe");
    assert_eq!(wait(&[&a, &b, &rx], NOW).expect("wait"), NONE);
    tx.send(&1).expect("send");
    assert_eq!(wait(&[&a, &b, &rx], NOW).expect("wait"), [2]);
    assert_eq!(wait(&[&rx, &a, &b], NOW).expect("wait"), [0], "the place, not the thing");
    assert_eq!(rx.recv().expect("looking has taken nothing"), 1);
    assert_eq!(wait(&[&rx, &a, &b], NOW).expect("wait"), NONE);
}

fn for_a_while() {
    let (a, b) = pipe::<u8>().expect("pipe");
    let begin = Instant::now();
    let timeout = Duration::from_millis(30);
    assert_eq!(wait(&[&a], Some(timeout)).expect("wait"), NONE);
    assert!(begin.elapsed() >= timeout, "not earlier");
    let later = std::thread::spawn(move || b.send(&1).map(|()| b));
    assert_eq!(wait(&[&a], Some(Duration::MAX)).expect("wait"), [0]);
    drop(later.join());
}

fn everything_that_is_ready() {
    let pipes: Vec<_> = (0..10).map(|_| pipe::<usize>().expect("pipe")).collect();
    let ends: Vec<&dyn Waitable> = pipes.iter().map(|(end, _)| end as &dyn Waitable).collect();
    for ready in [vec![0], vec![9], vec![2, 3, 7], (0..10).collect()] {
        for place in &ready {
            pipes[*place].1.send(place).expect("send");
        }
        assert_eq!(wait(&ends, None).expect("wait"), ready);
        for place in ready {
            assert_eq!(pipes[place].0.recv().expect("receive"), place);
        }
    }
    // The end of file can be received as well.
    let (closed, other) = pipe::<u8>().expect("pipe");
    drop(other);
    let (rx, tx) = simplex::<u8>().expect("pipe");
    drop(tx);
    assert_eq!(wait(&[&pipes[0].0, &closed, &rx], None).expect("wait"), [1, 2]);
}

fn nothing_at_all() {
    let error = wait(&[], None).expect_err("for ever");
    assert!(matches!(error, WaitError::Nothing), "{error:?}");
    assert!(error.to_string().contains("never end"), "{error}");
    let begin = Instant::now();
    assert_eq!(wait(&[], NOW).expect("wait"), NONE);
    let timeout = Duration::from_millis(10);
    assert_eq!(wait(&[], Some(timeout)).expect("wait"), NONE);
    assert!(begin.elapsed() >= timeout);
}

fn the_same_thing_twice() {
    let (a, b) = pipe::<u8>().expect("pipe");
    assert_eq!(wait(&[&a, &a], NOW).expect("wait"), NONE);
    b.send(&1).expect("send");
    assert_eq!(wait(&[&a, &b, &a], None).expect("wait"), [0, 2]);
}

fn children_and_pipes_together(method: StartMethod) {
    let (child, release) = held(method);
    let (other, other_release) = held(method);
    let (a, b) = pipe::<u8>().expect("pipe");
    let (rx, tx) = simplex::<u8>().expect("pipe");
    let all: [&dyn Waitable; 4] = [&a, &child, &rx, &other];
    assert_eq!(wait(&all, NOW).expect("wait"), NONE);
    drop(release);
    assert_eq!(wait(&all, None).expect("wait"), [1]);
    assert_eq!(wait(&all, None).expect("wait"), [1], "and it stays so");
    b.send(&1).expect("send");
    assert_eq!(wait(&all, None).expect("wait"), [0, 1]);
    drop(tx);
    assert_eq!(wait(&all, None).expect("wait"), [0, 1, 2]);
    drop(other_release);
    assert_eq!(wait(&[&other], None).expect("wait"), [0]);
    assert_eq!(wait(&all, NOW).expect("wait"), [0, 1, 2, 3]);
    for child in [child, other] {
        assert_eq!(child.join().expect("join"), 7);
    }
}

fn a_child_that_has_been_waited_for_is_ready(method: StartMethod) {
    let child = start(Process::new(|| 1, ()), method);
    child.wait().expect("wait");
    assert_eq!(wait(&[&child], NOW).expect("wait"), [0]);
    assert_eq!(wait(&[&child], None).expect("wait"), [0]);
    assert_eq!(child.join().expect("join"), 1);
}

fn every_end_of_a_child_counts(method: StartMethod) {
    let ends: [fn(&Child<()>); 2] =
        [|child| child.kill().expect("kill"), |child| child.terminate().expect("terminate")];
    for end in ends {
        let child = start(Process::new(sleep_long, ()), method);
        assert_eq!(wait(&[&child], NOW).expect("wait"), NONE);
        end(&child);
        assert_eq!(wait(&[&child], None).expect("wait"), [0]);
        assert!(child.join().is_err());
    }
    fn exits() {
        std::process::exit(3)
    }
    let child = start(Process::new(exits, ()), method);
    assert_eq!(wait(&[&child], None).expect("wait"), [0]);
    assert_eq!(child.exit_status().and_then(|status| status.code()), Some(3));
    let panics = |message: String| panic!("{message}") as u8;
    let child = start(Process::new(panics, ("on purpose".to_owned(),)), method);
    assert_eq!(wait(&[&child], None).expect("wait"), [0]);
    assert!(child.join().is_err());
}

fn the_first_to_answer(method: StartMethod) {
    let answers = |end: Connection<u32>| {
        while let Ok(number) = end.recv() {
            end.send(&(number * 2)).expect("the parent reads");
        }
    };
    let (ends, children): (Vec<_>, Vec<_>) = (0..4)
        .map(|_| {
            let (ours, theirs) = pipe::<u32>().expect("pipe");
            (ours, start(Process::new(answers, (theirs,)), method))
        })
        .unzip();
    let all: Vec<&dyn Waitable> = ends.iter().map(|end| end as &dyn Waitable).collect();
    for round in 0..200 {
        let asked = round % ends.len();
        ends[asked].send(&(round as u32)).expect("send");
        assert_eq!(wait(&all, None).expect("wait"), [asked]);
        assert_eq!(ends[asked].recv().expect("receive"), 2 * round as u32);
    }
    drop(ends);
    children.into_iter().for_each(|child| child.join().expect("join"));
}

fn a_child_that_another_thread_joins(method: StartMethod) {
    for _ in 0..20 {
        let (child, release) = held(method);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| child.wait().expect("wait"));
            let too = scope.spawn(|| wait(&[&child], None).expect("wait"));
            drop(release);
            assert!(waits.join().expect("thread").success());
            assert_eq!(too.join().expect("thread"), [0]);
        });
        assert_eq!(child.join().expect("join"), 7);
    }
}

fn many_things(method: StartMethod) {
    let held: Vec<_> = (0..40).map(|_| held(method)).collect();
    let pipes: Vec<_> = (0..200).map(|_| pipe::<u8>().expect("pipe")).collect();
    let children = held.iter().map(|(child, _)| child as &dyn Waitable);
    let all: Vec<&dyn Waitable> =
        children.chain(pipes.iter().map(|(end, _)| end as &dyn Waitable)).collect();
    assert_eq!(wait(&all, NOW).expect("wait"), NONE);
    pipes[199].1.send(&1).expect("send");
    assert_eq!(wait(&all, None).expect("wait"), [239]);
    held[20].0.kill().expect("kill");
    held[20].0.wait().expect("wait");
    assert_eq!(wait(&all, None).expect("wait"), [20, 239]);
    drop(pipes);
    for (place, (child, release)) in held.into_iter().enumerate() {
        drop(release);
        assert_eq!(child.join().is_ok(), place != 20);
    }
}
