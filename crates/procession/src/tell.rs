//! Words on standard error.

use std::fmt;
use std::io::Write;

/// Writes a line to standard error, if there is one: `eprintln!` panics where nobody listens, and
/// that would be a second fault on the way out of a first.
pub(crate) fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
