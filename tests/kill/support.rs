//! Fork servers, told from their copies.

use std::fs;

use procession_tests::proc;

/// The fork servers among a process's children, whatever they are called by now.
///
/// A copy that a server has just made looks like the server in everything but this: the server was
/// executed, and its copies were only forked.
pub(crate) fn fork_servers_of(pid: u32) -> Vec<u32> {
    const FORKED_AND_NOT_EXECUTED: u64 = 0x40;
    let was_executed = |child: &proc::Entry| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid)).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let flags = after_name.split_ascii_whitespace().nth(6).and_then(|f| f.parse::<u64>().ok());
        flags.is_some_and(|flags| flags & FORKED_AND_NOT_EXECUTED == 0)
    };
    let children = proc::children_of(pid).into_iter();
    let running = children.filter(|child| child.state != 'Z' && was_executed(child));
    running.map(|child| child.pid).collect()
}
