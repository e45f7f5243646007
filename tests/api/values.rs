//! Arguments and results that do not cross: which one, of which type, and nothing else is hurt.

use std::panic::{AssertUnwindSafe, catch_unwind};

use procession::{JoinError, Process, Run, StartError, StartMethod, active_children, spawn};
use procession_tests::{fail, for_each_method, join, start};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

for_each_method!(
    arguments_that_do_not_encode,
    arguments_that_do_not_decode,
    results_that_do_not_encode,
    results_that_do_not_decode,
    custom_processes_that_do_not_cross,
    formats_that_describe_themselves,
    panics_while_crossing,
    a_panic_of_the_caller_while_encoding_leaves_nothing_behind,
    a_panic_of_the_caller_while_decoding_leaves_nothing_behind,
    a_value_may_start_processes_while_it_crosses,
    sequences_of_unknown_length,
);

/// Does what it is told to do wherever it is encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    WhenEncoded,
    WhenDecoded,
    PanicWhenEncoded,
    PanicWhenDecoded,
    StartWhenEncoded,
    StartWhenDecoded,
}

use Trouble::{
    PanicWhenDecoded, PanicWhenEncoded, StartWhenDecoded, StartWhenEncoded, WhenDecoded,
    WhenEncoded,
};

const ALL: [Trouble; 7] = [
    Trouble::None,
    WhenEncoded,
    WhenDecoded,
    PanicWhenEncoded,
    PanicWhenDecoded,
    StartWhenEncoded,
    StartWhenDecoded,
];

fn square(number: u64) -> u64 {
    number * number
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            WhenEncoded => return Err(ser::Error::custom("in trouble")),
            PanicWhenEncoded => panic!("panic while encoding"),
            StartWhenEncoded => {
                assert_eq!(spawn(square, (3,)).expect("start").join().expect("join"), 9);
            }
            _ => {}
        }
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for Trouble {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let trouble = ALL[usize::from(u8::deserialize(deserializer)?)];
        match trouble {
            WhenDecoded => return Err(de::Error::custom("in trouble")),
            PanicWhenDecoded => panic!("panic while decoding"),
            StartWhenDecoded => {
                assert_eq!(spawn(square, (4,)).expect("start").join().expect("join"), 16);
            }
            _ => {}
        }
        Ok(trouble)
    }
}

fn second(_: String, trouble: Trouble, _: u64) -> bool {
    trouble == Trouble::None
}

fn with(trouble: Trouble) -> Process<bool> {
    Process::new(second, ("first".to_owned(), trouble, 3))
}

/// A result that is in trouble only once it is there.
fn returns(trouble: u8) -> Trouble {
    ALL[usize::from(trouble)]
}

fn arguments_that_do_not_encode(method: StartMethod) {
    let error = with(WhenEncoded).start_method(method).start().expect_err("argument 2");
    let StartError::Encode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "argument 2");
    assert!(inner.type_name().ends_with("values::Trouble"), "{inner:?}");
    let text = error.to_string();
    assert!(text.contains("argument 2") && text.contains("values::Trouble"), "{text}");
    assert!(active_children().is_empty(), "nothing was started");
    assert!(join(with(Trouble::None), method));
}

fn arguments_that_do_not_decode(method: StartMethod) {
    let child = start(with(WhenDecoded), method);
    assert_eq!(child.wait().expect("wait").code(), Some(1));
    let error = child.join().expect_err("argument 2");
    let JoinError::Decode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "argument 2");
    assert!(inner.type_name().ends_with("values::Trouble"), "{inner:?}");
    let text = error.to_string();
    assert!(text.contains("argument 2") && text.contains("values::Trouble"), "{text}");
}

fn results_that_do_not_encode(method: StartMethod) {
    let child = start(Process::new(returns, (WhenEncoded as u8,)), method);
    assert_eq!(child.wait().expect("wait").code(), Some(1));
    let error = child.join().expect_err("the result");
    let JoinError::Encode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the result");
    assert!(inner.type_name().ends_with("values::Trouble"), "{inner:?}");
}

fn results_that_do_not_decode(method: StartMethod) {
    let child = start(Process::new(returns, (WhenDecoded as u8,)), method);
    assert!(child.wait().expect("wait").success(), "the child has done its part");
    let error = child.join().expect_err("the result");
    let JoinError::Decode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the result");
    assert!(inner.type_name().ends_with("values::Trouble"), "{inner:?}");
    assert_eq!(join(Process::new(returns, (0,)), method), Trouble::None);
}

#[derive(Serialize, Deserialize)]
struct Custom(Trouble);

impl Run for Custom {
    type Output = bool;

    fn run(self) -> bool {
        self.0 == Trouble::None
    }
}

fn custom_processes_that_do_not_cross(method: StartMethod) {
    let error = Process::custom(Custom(WhenEncoded)).start_method(method).start();
    let error = error.expect_err("it does not encode");
    let StartError::Encode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the custom process");
    assert!(inner.type_name().ends_with("values::Custom"), "{inner:?}");
    let error = fail(Process::custom(Custom(WhenDecoded)), method);
    let JoinError::Decode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the custom process");
    assert!(inner.type_name().ends_with("values::Custom"), "{inner:?}");
    assert!(join(Process::custom(Custom(Trouble::None)), method));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

fn formats_that_describe_themselves(method: StartMethod) {
    let is_number = |untagged: Untagged| untagged == Untagged::Number(1);
    let error = fail(Process::new(is_number, (Untagged::Number(1),)), method);
    let JoinError::Decode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "argument 1");
    assert!(error.to_string().contains("self-describing"), "{error}");
    let json = || serde_json::json!({ "a": [1, 2.5, null] });
    let error = fail(Process::new(json, ()), method);
    let JoinError::Decode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the result");
    assert!(error.to_string().contains("self-describing"), "{error}");
    let text = Untagged::Text("there".to_owned());
    let bytes = serde_json::to_vec(&text).expect("json");
    let decode = |bytes: Vec<u8>| serde_json::from_slice::<Untagged>(&bytes).is_ok();
    assert!(join(Process::new(decode, (bytes,)), method), "as bytes it crosses");
}

fn panics_while_crossing(method: StartMethod) {
    let error = fail(with(PanicWhenDecoded), method);
    let JoinError::Panicked { message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(message, "panic while decoding");
    let error = fail(Process::new(returns, (PanicWhenEncoded as u8,)), method);
    let JoinError::Panicked { message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(message, "panic while encoding");
}

/// Outside of procession's own messages a handle is refused, whatever has happened before.
fn assert_that_json_refuses_handles() {
    let (end, _other) = procession::pipe::<u8>().expect("pipe");
    let refused = serde_json::to_string(&end);
    assert!(refused.is_err(), "{refused:?}");
    let forged = serde_json::from_str::<procession::Connection<u8>>("0");
    assert!(forged.is_err(), "{forged:?}");
}

fn a_panic_of_the_caller_while_encoding_leaves_nothing_behind(method: StartMethod) {
    let process = with(PanicWhenEncoded).start_method(method);
    let panic = catch_unwind(AssertUnwindSafe(|| process.start())).expect_err("it is the caller's");
    assert_eq!(panic.downcast_ref(), Some(&"panic while encoding"));
    assert_that_json_refuses_handles();
    assert!(join(with(Trouble::None), method), "starts go on");
}

fn a_panic_of_the_caller_while_decoding_leaves_nothing_behind(method: StartMethod) {
    let child = start(Process::new(returns, (PanicWhenDecoded as u8,)), method);
    let panic = catch_unwind(AssertUnwindSafe(|| child.join())).expect_err("it is the caller's");
    assert_eq!(panic.downcast_ref(), Some(&"panic while decoding"));
    assert_that_json_refuses_handles();
    // The same with a handle that had come along.
    let (end, other) = procession::pipe::<u8>().expect("pipe");
    let pair = |end: procession::Connection<u8>| (PanicWhenDecoded, end);
    let child = start(Process::new(pair, (end,)), method);
    catch_unwind(AssertUnwindSafe(|| child.join())).expect_err("it is the caller's");
    assert_that_json_refuses_handles();
    assert!(matches!(other.recv(), Err(procession::RecvError::Closed)), "its end is gone");
}

fn a_value_may_start_processes_while_it_crosses(method: StartMethod) {
    assert!(!join(with(StartWhenEncoded), method));
    assert!(!join(with(StartWhenDecoded), method));
    for trouble in [StartWhenEncoded, StartWhenDecoded] {
        assert_eq!(join(Process::new(returns, (trouble as u8,)), method), trouble);
    }
}

#[derive(Debug, Deserialize)]
struct Lazy(Vec<u8>);

impl Serialize for Lazy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeSeq;
        let mut sequence = serializer.serialize_seq(None)?;
        self.0.iter().try_for_each(|byte| sequence.serialize_element(byte))?;
        sequence.end()
    }
}

fn sequences_of_unknown_length(method: StartMethod) {
    let count = |lazy: Lazy| lazy.0.len();
    let error = Process::new(count, (Lazy(vec![1, 2]),)).start_method(method).start();
    let error = error.expect_err("it does not tell its length");
    assert!(matches!(error, StartError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("length"), "{error}");
}
