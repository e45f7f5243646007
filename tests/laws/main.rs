//! The laws that every part of the library keeps, a file for each.

mod law_1_hope;
mod law_3_whole;
#[path = "../kill/mark.rs"]
mod mark;
