//! Law 6: handles are values. An end of a pipe can be an argument, a result, and a message, inside
//! whatever serde can write, and works where it arrives.

use std::collections::BTreeMap;

use procession::{
    Child, Connection, Process, Receiver, RecvError, Sender, StartMethod, pipe, simplex,
};
use procession_tests::{for_each_method, method_from, method_name, sleep_long, tests};
use serde::{Deserialize, Serialize};

for_each_method! {
    an_argument,
    a_result,
    a_message,
    parts_of_larger_values,
    a_chain_of_processes,
    a_handle_outlives_who_sent_it,
    a_handle_on_its_way_dies_with_its_receiver,
}

tests! {
    a_pipe_can_carry_its_own_ends,
    handles_nobody_takes_are_closed,
    other_formats_refuse_them,
}

fn start<R>(process: Process<R>, method: StartMethod) -> Child<R>
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    process.start_method(method).start().expect("it starts")
}

fn an_argument(method: StartMethod) {
    fn add(numbers: Receiver<u64>, sums: Sender<u64>, both: Connection<String>) {
        while let Ok(number) = numbers.recv() {
            sums.send(&(number + 1)).expect("the parent reads");
        }
        both.send(&format!("{} heard", both.recv().expect("a word"))).expect("the parent reads");
    }
    let (numbers, tx) = simplex().expect("a pipe");
    let (rx, sums) = simplex().expect("a pipe");
    let (ours, theirs) = pipe().expect("a pipe");
    let child = start(Process::new(add, (numbers, sums, theirs)), method);
    for number in 0..10 {
        tx.send(&number).expect("the child reads");
        assert_eq!(rx.recv().expect("a sum"), number + 1);
    }
    drop(tx);
    ours.send(&"word".to_owned()).expect("the child reads");
    assert_eq!(ours.recv().expect("an answer"), "word heard");
    child.join().expect("it returns");
}

fn a_result(method: StartMethod) {
    let make = || {
        let (ours, theirs) = pipe::<String>().expect("a pipe");
        ours.send(&"from the dead".to_owned()).expect("there is room");
        // One end with a word in it, and the other as well: both outlive this process.
        (theirs, vec![Some(ours)])
    };
    let (theirs, mut ours) = start(Process::new(make, ()), method).join().expect("it returns");
    assert_eq!(theirs.recv().expect("what was sent before"), "from the dead");
    let ours = ours.pop().flatten().expect("it came");
    theirs.send(&"alive".to_owned()).expect("the other end is here");
    assert_eq!(ours.recv().expect("a word"), "alive");
    drop(theirs);
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
}

fn a_message(method: StartMethod) {
    /// Answers through the end that comes with each question.
    fn serve(questions: Receiver<(u32, Sender<u32>)>) {
        while let Ok((number, answer)) = questions.recv() {
            answer.send(&(number * number)).expect("who asked waits");
        }
    }
    let (rx, tx) = simplex().expect("a pipe");
    let child = start(Process::new(serve, (rx,)), method);
    for number in 0..50 {
        let (answer, to) = simplex().expect("a pipe");
        // The sender keeps its own copy until it is dropped.
        tx.send(&(number, to)).expect("the child reads");
        assert_eq!(answer.recv().expect("an answer"), number * number);
    }
    drop(tx);
    child.join().expect("it returns");
}

#[derive(Serialize, Deserialize)]
enum Part {
    Nothing,
    One(Box<Connection<u8>>),
    Named { end: Option<Connection<u8>>, padding: Vec<u8> },
}

fn parts_of_larger_values(method: StartMethod) {
    type Parts = (BTreeMap<String, Part>, Vec<(u8, Sender<u8>)>);
    fn use_all((parts, senders): Parts) -> Vec<String> {
        for (number, sender) in senders {
            sender.send(&number).expect("the parent reads");
        }
        let mut used = Vec::new();
        for (name, part) in parts {
            let end = match part {
                Part::Nothing => continue,
                Part::One(end) => *end,
                Part::Named { end: None, .. } => continue,
                Part::Named { end: Some(end), padding } => {
                    assert!(padding.iter().all(|byte| *byte == 3));
                    end
                }
            };
            end.send(&end.recv().expect("a byte")).expect("the parent reads");
            used.push(name);
        }
        used
    }
    let ends: Vec<_> = (0..4).map(|_| pipe::<u8>().expect("a pipe")).collect();
    let (ours, mut theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    // With the padding it does not fit into a socket's buffer any more: the value is in memory.
    let named = |end, size| Part::Named { end, padding: vec![3; size] };
    let parts = BTreeMap::from([
        ("a".to_owned(), Part::One(Box::new(theirs.remove(0)))),
        ("b".to_owned(), Part::Nothing),
        ("c".to_owned(), named(Some(theirs.remove(0)), 300_000)),
        ("d".to_owned(), named(None, 0)),
        ("e".to_owned(), named(Some(theirs.remove(0)), 0)),
    ]);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..20)
        .map(|number| {
            let (rx, tx) = simplex().expect("a pipe");
            ((number, tx), (number, rx))
        })
        .unzip();
    let child = start(Process::new(use_all, ((parts, senders),)), method);
    for (number, receiver) in receivers {
        assert_eq!(receiver.recv().expect("a number"), number);
        assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
    }
    for (number, end) in ours.iter().take(3).enumerate() {
        end.send(&(number as u8)).expect("the child reads");
        assert_eq!(end.recv().expect("the same"), number as u8);
    }
    assert_eq!(child.join().expect("it returns"), ["a", "c", "e"]);
}

/// An end goes down through four processes, and comes back as their result.
fn a_chain_of_processes(method: StartMethod) {
    fn pass_on(depth: u32, method: String, end: Connection<String>) -> Connection<String> {
        end.send(&format!("at {depth}")).expect("the parent reads");
        let Some(below) = depth.checked_sub(1) else { return end };
        let process = Process::new(pass_on, (below, method.clone(), end));
        start(process, method_from(&method)).join().expect("it comes back")
    }
    let (ours, theirs) = pipe().expect("a pipe");
    let first = Process::new(pass_on, (3, method_name(method).to_owned(), theirs));
    let back = start(first, method).join().expect("it comes back");
    for depth in (0..4).rev() {
        assert_eq!(ours.recv().expect("a word"), format!("at {depth}"));
    }
    ours.send(&"still open".to_owned()).expect("the end is here");
    assert_eq!(back.recv().expect("a word"), "still open");
    drop(back);
    assert!(matches!(ours.recv(), Err(RecvError::Closed)), "there is no copy elsewhere");
}

fn a_handle_outlives_who_sent_it(method: StartMethod) {
    fn give(ends: Sender<Connection<u32>>, ready: Sender<()>) {
        let (mine, yours) = pipe::<u32>().expect("a pipe");
        mine.send(&17).expect("there is room");
        ends.send(&yours).expect("there is room");
        ready.send(&()).expect("the parent waits");
        sleep_long();
    }
    let (rx, ends) = simplex().expect("a pipe");
    let (is_ready, ready) = simplex().expect("a pipe");
    let child = start(Process::new(give, (ends, ready)), method);
    is_ready.recv().expect("it has sent it");
    child.kill().expect("it is ours");
    child.wait().expect("its status");
    // The end is still on its way, from a process that is no more.
    let end = rx.recv().expect("the end");
    assert_eq!(end.recv().expect("what it had sent"), 17);
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
}

fn a_handle_on_its_way_dies_with_its_receiver(method: StartMethod) {
    fn never_read(ends: Receiver<Connection<u32>>) {
        sleep_long();
        drop(ends);
    }
    let (rx, tx) = simplex().expect("a pipe");
    let child = start(Process::new(never_read, (rx,)), method);
    let (mine, yours) = pipe::<u32>().expect("a pipe");
    tx.send(&yours).expect("there is room");
    drop(yours);
    child.kill().expect("it is ours");
    assert!(matches!(mine.recv(), Err(RecvError::Closed)), "nobody can take it any more");
}

fn a_pipe_can_carry_its_own_ends() {
    #[derive(Serialize, Deserialize)]
    struct Own(Option<Connection<Own>>);
    let (a, b) = pipe::<Own>().expect("a pipe");
    a.send(&Own(Some(b.clone()))).expect("there is room");
    let again = b.recv().expect("the end").0.expect("it has one");
    drop(b);
    a.send(&Own(None)).expect("the end is there once more");
    assert!(again.recv().expect("a message").0.is_none());
    // Each end is on its way inside the other, and held by nobody: that is the system's to find.
    again.send(&Own(Some(a.clone()))).expect("there is room");
    a.send(&Own(Some(again.clone()))).expect("there is room");
}

fn handles_nobody_takes_are_closed() {
    let (a, b) = pipe::<Connection<u8>>().expect("a pipe");
    let (mine, yours) = pipe::<u8>().expect("a pipe");
    a.send(&yours).expect("there is room");
    drop(yours);
    mine.send(&1).expect("it is on its way");
    drop(b);
    assert!(matches!(mine.recv(), Err(RecvError::Closed)));
}

fn other_formats_refuse_them() {
    let (connection, _other) = pipe::<u8>().expect("a pipe");
    let (receiver, sender) = simplex::<u8>().expect("a pipe");
    let errors = [
        serde_json::to_string(&connection).expect_err("no number means anything elsewhere"),
        serde_json::to_string(&Some(&receiver)).expect_err("inside something"),
        serde_json::to_string(&vec![&sender]).expect_err("inside something"),
        serde_json::from_str::<Connection<u8>>("0").expect_err("nor does one from elsewhere"),
        serde_json::from_str::<Sender<u8>>("3").expect_err("nor does one from elsewhere"),
    ];
    for error in errors {
        assert!(error.to_string().contains("procession"), "{error}");
    }
    // It is as good as before.
    connection.send(&1).expect("there is room");
}
