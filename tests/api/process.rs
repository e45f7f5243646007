//! `Process`, `spawn`, `Run`: what can be started, with which arguments, and what comes back.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use procession::{Process, Run, StartError, StartMethod, current_process, spawn};
use procession_tests::{for_each_method, is_long, join, start, tests};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

for_each_method!(
    values_of_every_size_come_back,
    zero_to_eight_arguments,
    values_of_every_kind_cross,
    functions_closures_and_methods_are_told_apart,
    custom_processes,
    names,
    daemons,
    a_process_can_be_described_in_one_thread_and_started_in_another,
);
tests!(
    impossible_names_are_refused,
    both_methods_at_once,
    the_default_is_the_fork_server,
    what_is_dropped_before_its_start_does_nothing,
);

fn square(number: u64) -> u64 {
    number * number
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * 31) >> 3) as u8).collect()
}

fn values_of_every_size_come_back(method: StartMethod) {
    assert_eq!(join(Process::new(square, (7,)), method), 49);
    // Around what fits in one datagram, and far beyond.
    for size in [0, 1, 4 << 10, (64 << 10) - 64, 64 << 10, (64 << 10) + 1, 208 << 10, 1 << 20] {
        let child = start(Process::new(bytes, (size,)), method);
        assert!(child.wait().expect("wait").success(), "waiting first does not hang");
        assert_eq!(child.join().expect("join"), bytes(size), "{size} bytes back");
        let length = |there: Vec<u8>| (there.len(), there.last().copied());
        let there = join(Process::new(length, (bytes(size),)), method);
        assert_eq!(there, (size, bytes(size).last().copied()), "{size} bytes there");
    }
    let strings = |count: u32| (0..count).map(|i| i.to_string()).collect::<Vec<String>>();
    assert_eq!(join(Process::new(strings, (30_000,)), method), strings(30_000));
    let size = if is_long() { 1 << 30 } else { 64 << 20 };
    let large = join(Process::new(|size: usize| vec![7u8; size], (size,)), method);
    assert!(large == vec![7u8; size]);
    let is_whole = |large: Vec<u8>, size: usize| large == vec![7u8; size];
    assert!(join(Process::new(is_whole, (large, size)), method));
}

fn zero_to_eight_arguments(method: StartMethod) {
    type A = u8;
    fn f0() -> String {
        String::new()
    }
    fn f1(a: A) -> String {
        format!("{a}")
    }
    fn f2(a: A, b: i64) -> String {
        format!("{a}{b}")
    }
    fn f3(a: A, b: i64, c: char) -> String {
        format!("{a}{b}{c}")
    }
    fn f4(a: A, b: i64, c: char, d: String) -> String {
        format!("{a}{b}{c}{d}")
    }
    fn f5(a: A, b: i64, c: char, d: String, e: bool) -> String {
        format!("{a}{b}{c}{d}{e}")
    }
    fn f6(a: A, b: i64, c: char, d: String, e: bool, f: Vec<f32>) -> String {
        format!("{a}{b}{c}{d}{e}{f:?}")
    }
    fn f7(a: A, b: i64, c: char, d: String, e: bool, f: Vec<f32>, g: ()) -> String {
        format!("{a}{b}{c}{d}{e}{f:?}{g:?}")
    }
    let d = || "d".to_owned();
    let f = || vec![1.5f32, -2.0];
    assert_eq!(join(Process::new(f0, ()), method), "");
    assert_eq!(join(Process::new(f1, (1,)), method), "1");
    assert_eq!(join(Process::new(f2, (1, -2)), method), "1-2");
    assert_eq!(join(Process::new(f3, (1, -2, 'c')), method), "1-2c");
    assert_eq!(join(Process::new(f4, (1, -2, 'c', d())), method), "1-2cd");
    assert_eq!(join(Process::new(f5, (1, -2, 'c', d(), true)), method), "1-2cdtrue");
    assert_eq!(
        join(Process::new(f6, (1, -2, 'c', d(), true, f())), method),
        "1-2cdtrue[1.5, -2.0]"
    );
    assert_eq!(
        join(Process::new(f7, (1, -2, 'c', d(), true, f(), ())), method),
        "1-2cdtrue[1.5, -2.0]()"
    );
    let eight = Process::new(
        |a: A, b: i64, c: char, d: String, e: bool, f: Vec<f32>, g: (), h: Vec<u64>| {
            format!("{a}{b}{c}{d}{e}{f:?}{g:?}{h:?}")
        },
        (1, -2, 'c', d(), true, f(), (), vec![u64::MAX]),
    );
    assert_eq!(join(eight, method), format!("1-2cdtrue[1.5, -2.0]()[{}]", u64::MAX));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Point(f64, f64),
    Named { name: String, inside: Vec<Shape> },
}

/// There and back again, as argument and result.
fn crosses<T>(value: &T, method: StartMethod)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Send + 'static,
{
    assert_eq!(join(Process::new(|value: T| value, (value.clone(),)), method), *value);
}

fn values_of_every_kind_cross(method: StartMethod) {
    crosses(&(), method);
    crosses(&(u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX), method);
    crosses(&(i64::MIN, u128::MAX, i128::MIN, usize::MAX, isize::MIN, true, '\u{10ffff}'), method);
    crosses(&(f32::MIN_POSITIVE, f64::INFINITY, -0.0f64), method);
    crosses(
        &(Some(Some(1)), None::<u8>, Ok::<u8, String>(1), Err::<u8, _>("e".to_owned())),
        method,
    );
    crosses(
        &(vec![1u16, 2], vec![-1i32], vec![1.5f64], vec![u128::MAX], vec![[1u8; 3]; 4]),
        method,
    );
    crosses(&vec![1.5f64, f64::MAX, f64::MIN_POSITIVE], method);
    crosses(&vec![i16::MIN, 0, i16::MAX], method);
    crosses(&vec![(), (), ()], method);
    crosses(&("tail\0of\u{1F980}".to_owned(), String::new(), Box::new([1u8, 2])), method);
    crosses(&HashMap::from([("a".to_owned(), vec![1u8]), (String::new(), vec![])]), method);
    crosses(&BTreeMap::from([(1u8, Some('x')), (2, None)]), method);
    crosses(&(PathBuf::from("/a b/c"), Duration::MAX, SystemTime::UNIX_EPOCH), method);
    let point = Shape::Point(1.0, 2.0);
    crosses(&Shape::Named { name: "n".to_owned(), inside: vec![Shape::Nothing, point] }, method);
    let not_a_number = join(Process::new(|| f64::from_bits(0x7ff8_0000_dead_beef), ()), method);
    assert_eq!(not_a_number.to_bits(), 0x7ff8_0000_dead_beef);
}

struct Methods;

impl Methods {
    fn associated(number: u64) -> u64 {
        number + 3
    }
}

fn generic<T: std::fmt::Display>(value: T) -> String {
    value.to_string()
}

fn functions_closures_and_methods_are_told_apart(method: StartMethod) {
    // The same body: one address where code is folded.
    let same_body: fn(u64) -> u64 = |number| number * number;
    assert_eq!(same_body(3), 9);
    assert_eq!(join(Process::new(|number: u64| number * number, (3,)), method), 9);
    assert_eq!(join(Process::new(square, (3,)), method), 9);
    assert_eq!(join(Process::new(Methods::associated, (3,)), method), 6);
    assert_eq!(join(Process::new(generic::<u8>, (3,)), method), "3");
    assert_eq!(join(Process::new(generic::<String>, ("three".to_owned(),)), method), "three");
    const INSIDE: u64 = 5;
    assert_eq!(join(Process::new(|number: u64| number + INSIDE, (3,)), method), 8);
    assert_eq!(join(Process::new(u64::count_ones, (255,)), method), 8);
    assert_eq!(join(Process::new(String::into_bytes, ("x".to_owned(),)), method), b"x");
}

#[derive(Debug, Serialize, Deserialize)]
struct Resize {
    path: PathBuf,
    width: u32,
}

impl Run for Resize {
    type Output = (String, u32);

    fn run(self) -> Self::Output {
        (self.path.display().to_string(), self.width * 2)
    }
}

#[derive(Serialize, Deserialize)]
struct Wrapper<T>(T);

impl<T: Serialize + DeserializeOwned + Send + 'static> Run for Wrapper<T> {
    type Output = (T, String);

    fn run(self) -> Self::Output {
        (self.0, current_process().name().to_owned())
    }
}

fn custom_processes(method: StartMethod) {
    let resize = Resize { path: "/a".into(), width: 21 };
    assert_eq!(join(Process::custom(resize), method), ("/a".to_owned(), 42));
    let number = Process::custom(Wrapper(5u8)).name("r");
    assert_eq!(join(number, method), (5, "r".to_owned()));
    let text = Process::custom(Wrapper("5".to_owned())).name("s");
    assert_eq!(join(text, method), ("5".to_owned(), "s".to_owned()));
    let large = Process::custom(Wrapper(bytes(1 << 20))).name("t");
    assert_eq!(join(large, method).0, bytes(1 << 20));
}

fn own_name() -> String {
    current_process().name().to_owned()
}

fn names(method: StartMethod) {
    let long = "long ".repeat(10_000);
    for name in ["resizer", "", "with space", "zwölf\u{1F980}", "a:b/c\n", &long] {
        let child = start(Process::new(own_name, ()).name(name), method);
        assert_eq!(child.name(), name);
        assert_eq!(child.join().expect("join"), name);
    }
    let number = |name: &str| -> u32 {
        let number = name.strip_prefix("Process-").expect("the usual prefix");
        number.parse().expect("a number")
    };
    let first = start(Process::new(own_name, ()), method);
    let second = start(Process::new(own_name, ()), method);
    assert_eq!(number(first.name()) + 1, number(second.name()));
    assert_eq!(second.name().to_owned(), second.join().expect("join"));
    assert_eq!(first.name().to_owned(), first.join().expect("join"));
}

fn impossible_names_are_refused() {
    for method in procession_tests::METHODS {
        let error = Process::new(own_name, ()).name("a\0b").start_method(method).start();
        let error = error.expect_err("a name with a NUL");
        assert!(matches!(&error, StartError::Name { name } if name == "a\0b"), "{error:?}");
        assert!(error.to_string().contains("NUL"), "{error}");
    }
}

fn daemons(method: StartMethod) {
    fn is_daemon() -> (bool, bool) {
        let below = spawn(|| current_process().is_daemon(), ()).expect("a daemon may start others");
        (current_process().is_daemon(), below.join().expect("join"))
    }
    for daemon in [false, true] {
        let child = start(Process::new(is_daemon, ()).daemon(daemon), method);
        assert_eq!(child.is_daemon(), daemon);
        assert_eq!(child.join().expect("join"), (daemon, false));
    }
    let plain = start(Process::new(is_daemon, ()).daemon(true).daemon(false), method);
    assert!(!plain.is_daemon(), "the last word counts");
    plain.join().expect("join");
}

fn a_process_can_be_described_in_one_thread_and_started_in_another(method: StartMethod) {
    let process = Process::new(square, (5,)).start_method(method);
    let child = std::thread::spawn(|| process.start().expect("start")).join().expect("thread");
    // The thread that started it is gone; the child is not.
    assert_eq!(child.join().expect("join"), 25);
}

fn both_methods_at_once() {
    let children: Vec<_> = (0..10)
        .map(|i| start(Process::new(square, (i,)), procession_tests::METHODS[i as usize % 2]))
        .collect();
    for (i, child) in children.into_iter().enumerate() {
        assert_eq!(child.join().expect("join"), (i * i) as u64);
    }
}

fn the_default_is_the_fork_server() {
    assert_eq!(StartMethod::default(), StartMethod::ForkServer);
    assert_eq!(spawn(square, (9,)).expect("start").join().expect("join"), 81);
}

fn what_is_dropped_before_its_start_does_nothing() {
    let folder = procession_tests::Folder::new();
    let path = folder.path().join("file");
    let write = |path: PathBuf| std::fs::write(path, "").expect("written");
    drop(Process::new(write, (path.clone(),)).name("never"));
    assert!(!path.exists());
    join(Process::new(write, (path.clone(),)), StartMethod::default());
    assert!(path.exists());
}
