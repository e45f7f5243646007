//! A program for the tests of kills, of laws and of hostility: it is killed, looked at from
//! outside, or started with an environment that hurts.

mod crash;
mod parent;
mod scarce;

fn main() {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "crash" => crash::at_point(),
        "both-die" => crash::both_die(),
        "parent" => parent::run(),
        "scarce" => scarce::starts(),
        "scarce-messages" => scarce::messages(),
        "scarce-replies" => scarce::replies(),
        "say-main" => println!("main was entered"),
        _ => {
            eprintln!("no scenario `{scenario}`");
            std::process::exit(64);
        }
    }
}

/// The argument at `place`, after the scenario.
fn argument(place: usize) -> String {
    std::env::args().nth(place + 1).unwrap_or_else(|| panic!("argument {place} is missing"))
}
