//! A library that a program loads while it runs, and that starts a function of its own.

use procession::StartError;

/// Tries to start a function that lies in this library; 0 if it is refused as it should be.
#[unsafe(no_mangle)]
pub extern "C" fn start_from_library() -> i32 {
    match procession::spawn(|| 1u8, ()) {
        Err(StartError::Target { message }) if message.contains("library") => 0,
        Err(error) => {
            eprintln!("another error: {error}");
            1
        }
        Ok(child) => {
            eprintln!("started: {:?}", child.join());
            2
        }
    }
}
