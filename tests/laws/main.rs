//! The laws that every part of the library keeps, a file for each.

mod law_1_hope;
mod law_3_whole;
mod law_4_nothing_left;
mod law_5_main;
#[path = "../kill/mark.rs"]
mod mark;
