use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Named { name: String, sides: Vec<u32>, tags: HashMap<String, Option<bool>> },
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let encoded = encode(&value, "the message").expect("encode");
    let back: T = decode(&encoded.bytes, encoded.handles, "the message").expect("decode");
    assert_eq!(back, value);
}

#[test]
fn values_come_back() {
    round_trip(());
    round_trip((1u8, -2i64, "three".to_owned(), Some('4')));
    round_trip(Shape::Dot);
    round_trip(Shape::Circle(0.5));
    let tags = HashMap::from([("a".to_owned(), Some(true)), ("b".to_owned(), None)]);
    round_trip(Shape::Named { name: "n".into(), sides: vec![1, 2], tags });
    round_trip(vec![vec![1u8], vec![]]);
}

#[test]
fn vectors_of_numbers_come_back_and_are_copied_whole() {
    round_trip(vec![1u8, 2, 255]);
    round_trip(vec![f64::MIN, 0.0, f64::MAX]);
    round_trip(Vec::<u64>::new());
    round_trip(vec![i128::MIN]);
    let encoded = encode(&vec![7u32; 100], "the message").expect("encode");
    assert_eq!(encoded.bytes.len(), 8 + 400);
}

#[test]
fn a_lying_length_allocates_nothing() {
    let mut bytes = u64::MAX.to_ne_bytes().to_vec();
    bytes.extend([0; 10]);
    let error = decode::<Vec<u64>>(&bytes, Vec::new(), "the message").expect_err("a lie");
    assert!(error.to_string().contains("18446744073709551615 elements"), "{error}");
    // The same through postcard: a varint length of 2^62.
    let lie = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 1, 2];
    decode::<Vec<String>>(&lie, Vec::new(), "the message").expect_err("a lie");
    decode::<String>(&lie, Vec::new(), "the message").expect_err("a lie");
}

#[test]
fn left_over_bytes_are_an_error() {
    let error = decode::<u8>(&[1, 2, 3], Vec::new(), "the message").expect_err("too long");
    assert!(error.to_string().contains("2 bytes are left over"), "{error}");
}

#[test]
fn handles_need_the_library_around_them() {
    let handle = procession_sys::settings::null().expect("null");
    let json = serde_json::to_string(&Carried::new(handle)).expect_err("not in JSON");
    assert!(json.to_string().contains("only inside an argument"), "{json}");
    let back = serde_json::from_str::<Carried>("0").expect_err("not from JSON");
    assert!(back.to_string().contains("only inside an argument"), "{back}");
}

#[test]
fn handles_travel_beside_the_bytes_and_are_taken_once() {
    let null = || Carried::new(procession_sys::settings::null().expect("null"));
    let encoded = encode(&(1u8, null(), null()), "the message").expect("encode");
    assert_eq!(encoded.handles.len(), 2);
    let _: (u8, Carried, Carried) =
        decode(&encoded.bytes, encoded.handles, "the message").expect("decode");

    let handles = vec![procession_sys::settings::null().expect("null")];
    let twice = decode::<(Carried, Carried)>(&[0, 0], handles, "the message").expect_err("twice");
    assert!(twice.to_string().contains("handle 0, which did not come"), "{twice}");
}

#[test]
fn the_argument_that_fails_is_named() {
    #[derive(Deserialize)]
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let mut encoded = Encoded::default();
    let error = (1u8, Refuses).encode(&mut arguments::sealed::Encoding(&mut encoded));
    let error = error.expect_err("refuses").to_string();
    assert!(error.contains("argument 2") && error.contains("Refuses"), "{error}");
}
