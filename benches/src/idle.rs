//! What a child costs that only waits.

use std::error::Error;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use procession::{Receiver, simplex, spawn};

use crate::row::{self, shown};

/// Prints the table, and says whether it could be measured.
pub(crate) fn table(quick: bool) -> bool {
    let numbers = row::measure(quick, &["idle"]);
    let Some([seconds, costs @ ..]) = numbers.as_deref() else {
        return false;
    };
    println!("\n### A child that waits for a message, over {seconds} s\n");
    println!("| | CPU ticks | wake-ups | private memory, MiB |");
    println!("|---|---:|---:|---:|");
    let (processes, _) = costs.as_chunks::<3>();
    for (title, cost) in ["the child", "its parent", "the fork server"].iter().zip(processes) {
        let [ticks, wakes, memory] = cost;
        println!("| {title} | {ticks} | {wakes} | {} |", shown(Some(*memory)));
    }
    true
}

/// The seconds, then ticks, wake-ups and MiB of the child, this process, and the fork server.
pub(crate) fn measure(quick: bool) -> Result<Vec<f64>, Box<dyn Error>> {
    let seconds = if quick { 2 } else { 10 };
    let (receiver, sender) = simplex::<()>()?;
    let child = spawn(wait_for_end, (receiver,))?;
    // Starting is over by then.
    sleep(Duration::from_secs(1));

    let own = std::process::id();
    let mut pids = vec![child.pid(), own];
    pids.extend(children_of(own).into_iter().filter(|&pid| pid != child.pid()));
    let before: Vec<Option<Activity>> = pids.iter().map(|&pid| activity(pid)).collect();
    sleep(Duration::from_secs(seconds));

    let mut numbers = vec![seconds as f64];
    for (pid, before) in pids.iter().zip(before) {
        let (before, after) = (before.ok_or("a process has gone")?, activity(*pid));
        let after = after.ok_or("a process has gone")?;
        numbers.push(after.ticks - before.ticks);
        // Our own sleep is one of them.
        let own_sleep = f64::from(u8::from(*pid == own));
        numbers.push((after.wakes - before.wakes - own_sleep).max(0.0));
        numbers.push(private_mebibytes(*pid)?);
    }
    drop(sender);
    child.join()?;
    Ok(numbers)
}

/// Ticks and wake-ups of some processes during `time`, and the most private memory of one, in MiB.
pub(crate) fn over(pids: &[u32], time: Duration) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let sum = || {
        pids.iter().try_fold((0.0, 0.0), |(ticks, wakes), &pid| {
            let activity = activity(pid)?;
            Some((ticks + activity.ticks, wakes + activity.wakes))
        })
    };
    let before = sum().ok_or("a process has gone")?;
    sleep(time);
    let after = sum().ok_or("a process has gone")?;
    let mut most: f64 = 0.0;
    for &pid in pids {
        most = most.max(private_mebibytes(pid)?);
    }
    Ok((after.0 - before.0, after.1 - before.1, most))
}

fn wait_for_end(receiver: Receiver<()>) {
    // The only thing that can come is `Closed`.
    let _ = receiver.recv();
}

/// What a process has done so far.
struct Activity {
    ticks: f64,
    wakes: f64,
}

fn activity(pid: u32) -> Option<Activity> {
    let fields = stat(pid)?;
    // Fields 14 and 15 of proc_pid_stat(5), counted from the third.
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let mut wakes = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        wakes += line.trim().parse::<f64>().ok()?;
    }
    Some(Activity { ticks, wakes })
}

/// What only this process holds in memory.
fn private_mebibytes(pid: u32) -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    let kibibytes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kibibytes.sum::<f64>() / 1024.0)
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parent = parent.to_string();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| stat(pid).is_some_and(|fields| fields.get(1) == Some(&parent)))
        .collect()
}

/// The fields of `/proc/<pid>/stat` from the third, the state, on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may itself hold spaces and parentheses.
    Some(text.rsplit_once(')')?.1.split_whitespace().map(String::from).collect())
}
