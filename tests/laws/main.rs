//! The laws that every part of the library keeps, a file for each.

mod constructors;
mod law_1_fair;
mod law_1_hope;
mod law_2_one_outcome;
mod law_3_whole;
mod law_4_nothing_left;
mod law_5_main;
mod law_6_values;
mod law_8_idle;
mod law_9_untouched;
#[path = "../kill/mark.rs"]
mod mark;
