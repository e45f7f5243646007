//! Who is who: this process, its children, and what a child knows of its parent.
//!
//! ```text
//! cargo run --release --example list_processes
//! ```

use std::io::{self, Write};

use procession::{Process, Receiver, simplex};

fn main() -> procession::Result<()> {
    let mut out = io::stdout();
    let own = procession::current_process();
    writeln!(out, "this is {} on {} CPUs", own.name(), procession::cpu_count())?;

    // Children wait until their end of a pipe closes, so that all three are there to be listed.
    let mut children = Vec::new();
    let mut senders = Vec::new();
    for name in ["reader", "parser", "writer"] {
        let (receiver, sender) = simplex::<()>()?;
        children.push(Process::new(introduce, (receiver,)).name(name).start()?);
        senders.push(sender);
    }

    let mut listed: Vec<String> =
        procession::active_children().iter().map(|child| child.name().to_string()).collect();
    listed.sort();
    writeln!(out, "children: {}", listed.join(", "))?;

    drop(senders);
    for child in children {
        writeln!(out, "{}", child.join()?)?;
    }
    writeln!(out, "children left: {}", procession::active_children().len())?;
    Ok(())
}

/// Waits for the end of the pipe, then says who this process is.
fn introduce(until_closed: Receiver<()>) -> String {
    // The only thing that can come is `Closed`.
    let _ = until_closed.recv();
    let own = procession::current_process();
    match procession::parent_process() {
        Some(parent) => format!("{} is a child of {}", own.name(), parent.name()),
        None => format!("{} has no parent", own.name()),
    }
}
