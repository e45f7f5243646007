//! A timeline of a pool's tasks, written to a file while they run.
//!
//! The desk tells what has become of each task, and the crew which workers come and go; a thread of
//! the timeline's own writes it down, so nobody waits for a disk. Without a timeline there is no
//! thread, and workers note no times.
//!
//! The file holds trace events as Chrome has defined them, in an array: each worker is a process
//! there, each lane a thread, each task a slice. It is a whole array after each write, which
//! overwrites the end of the last one: so it is one whatever ends this process.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use procession_sys::{clock, runtime};

use super::TaskError;
use super::record;
use crate::target::TargetName;
use crate::tell::tell;

/// How many bytes are written at a time, at the most, if there is more to say.
const ENOUGH: usize = 64 * 1024;

/// Where what is to be written is told.
#[derive(Clone, Debug)]
pub(crate) struct Telling(Sender<Event>);

/// A timeline that is being written.
#[derive(Debug)]
pub(crate) struct Timeline {
    thread: JoinHandle<()>,
}

/// One thread of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    pub(crate) pid: u32,
    /// Which of the worker's own lanes, from 0.
    pub(crate) lane: usize,
}

/// Some tasks of one function.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) function: Arc<[u8]>,
    /// When they were submitted, by the machine's clock; 0 if nobody had asked then.
    pub(crate) submitted: u64,
}

#[derive(Debug)]
enum Event {
    Hired {
        pid: u32,
        name: String,
        lanes: usize,
        at: u64,
    },
    Gone {
        pid: u32,
        at: u64,
        how: String,
    },
    /// Kind, beginning and end of each task.
    Ran {
        track: Track,
        tasks: Tasks,
        items: Vec<(u8, u64, u64)>,
        at: u64,
    },
    /// It was begun, at a time that the worker has noted.
    Failed {
        track: Track,
        tasks: Tasks,
        began: u64,
        error: TaskError,
        at: u64,
    },
    /// So many of them never ran.
    Dropped {
        tasks: Tasks,
        count: u32,
        error: TaskError,
        at: u64,
    },
}

impl Timeline {
    /// Begins a timeline in a file, which is made anew. It ends when nobody can tell it anything.
    pub(crate) fn begin(path: &Path) -> io::Result<(Self, Telling)> {
        let mut file = File::create(path)?;
        file.write_all(b"[\n]\n")?;
        let (sender, events) = mpsc::channel();
        let page = Page::new(file);
        let builder = thread::Builder::new().name("procession-trace".to_owned());
        let thread = runtime::with_signals_blocked(|| builder.spawn(move || page.fill(&events)))?;
        Ok((Self { thread }, Telling(sender)))
    }

    /// Waits until all is written that was told. Nobody can tell it anything any more.
    pub(crate) fn finish(self) {
        // It has told of a panic itself.
        let _ = self.thread.join();
    }
}

impl Telling {
    fn tell(&self, event: Event) {
        // There is somebody who listens for as long as there is somebody who tells.
        let _ = self.0.send(event);
    }

    /// A worker is there.
    pub(crate) fn hired(&self, pid: u32, name: &str, lanes: usize) {
        self.tell(Event::Hired { pid, name: name.to_owned(), lanes, at: clock::now() });
    }

    /// A worker has ended.
    pub(crate) fn gone(&self, pid: u32, how: String) {
        self.tell(Event::Gone { pid, at: clock::now(), how });
    }

    /// Tasks have run: of each its kind of record, and when it began and ended.
    pub(crate) fn ran(&self, track: Track, tasks: Tasks, items: Vec<(u8, u64, u64)>) {
        self.tell(Event::Ran { track, tasks, items, at: clock::now() });
    }

    /// A task has failed, or is to run again, that has begun at `began`; 0 if that was not noted.
    pub(crate) fn failed(&self, track: Track, tasks: Tasks, began: u64, error: &TaskError) {
        if began == 0 {
            return self.dropped(tasks, 1, error);
        }
        let (error, at) = (error.clone(), clock::now());
        self.tell(Event::Failed { track, tasks, began, error, at });
    }

    /// Tasks have failed that had not begun.
    pub(crate) fn dropped(&self, tasks: Tasks, count: u32, error: &TaskError) {
        if count > 0 {
            let (error, at) = (error.clone(), clock::now());
            self.tell(Event::Dropped { tasks, count, error, at });
        }
    }
}

/// The file, and what is to be written to it.
struct Page {
    file: File,
    /// Where the array's end is.
    end: u64,
    is_empty: bool,
    text: String,
    /// When the timeline began.
    origin: u64,
    names: HashMap<Arc<[u8]>, String>,
    me: u32,
}

impl Page {
    fn new(file: File) -> Self {
        Self {
            file,
            end: 2,
            is_empty: true,
            text: String::new(),
            origin: clock::now(),
            names: HashMap::new(),
            me: std::process::id(),
        }
    }

    /// Writes down what is told, for as long as somebody can tell something.
    fn fill(mut self, events: &Receiver<Event>) {
        self.name("process_name", self.me, 0, "pool");
        let mut written = self.write();
        while let Ok(event) = events.recv() {
            if written.is_err() {
                continue; // told already; who tells goes on
            }
            self.add(event);
            while self.text.len() < ENOUGH
                && let Ok(event) = events.try_recv()
            {
                self.add(event);
            }
            written = self.write();
            if let Err(error) = &written {
                tell(format_args!(
                    "procession: a pool's timeline ends early, its file cannot be written: {error}"
                ));
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let length = self.text.len() as u64;
        self.text.push_str("\n]\n");
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(self.text.as_bytes())?;
        self.text.clear();
        self.end += length;
        Ok(())
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Hired { pid, name, lanes, at } => {
                self.name("process_name", pid, 0, &name);
                for lane in 0..lanes {
                    let lane_name =
                        if lanes == 1 { name.clone() } else { format!("{name}, lane {lane}") };
                    self.name("thread_name", pid, lane, &lane_name);
                }
                self.mark("started", "worker", pid, at, &[]);
            }
            Event::Gone { pid, at, how } => {
                self.mark("ended", "worker", pid, at, &[("how", Value::Text(&how))]);
            }
            Event::Ran { track, tasks, items, at } => {
                let name = self.name_of(&tasks.function);
                for (kind, began, ended) in items {
                    self.slice(
                        &name,
                        track,
                        tasks.submitted,
                        (began, ended, at),
                        &[("outcome", Value::Text(record::outcome(kind)))],
                    );
                }
            }
            Event::Failed { track, tasks, began, error, at } => {
                let name = self.name_of(&tasks.function);
                let (word, why) = (error.word(), error.to_string());
                let arguments = [("outcome", Value::Text(word)), ("error", Value::Text(&why))];
                self.slice(&name, track, tasks.submitted, (began, at, at), &arguments);
            }
            Event::Dropped { tasks, count, error, at } => {
                let name = self.name_of(&tasks.function);
                let (word, why) = (error.word(), error.to_string());
                let mut arguments = vec![
                    ("outcome", Value::Text(word)),
                    ("error", Value::Text(&why)),
                    ("tasks", Value::Number(count)),
                ];
                if tasks.submitted > 0 {
                    let queued = at.saturating_sub(tasks.submitted);
                    arguments.push(("queued_us", Value::Time(queued)));
                }
                self.mark(&name, "task", self.me, at, &arguments);
            }
        }
    }

    /// What a function is called, as far as this program knows it.
    fn name_of(&mut self, function: &Arc<[u8]>) -> String {
        if let Some(name) = self.names.get(function) {
            return name.clone();
        }
        let name = function.get(4..).and_then(TargetName::from_bytes);
        let entry = name.and_then(|name| name.find().ok());
        let name = entry.map_or("task", |entry| entry.name()).to_owned();
        self.names.insert(Arc::clone(function), name.clone());
        name
    }

    /// A task, from its beginning to its end. What a worker says of those is believed only as far
    /// as it can be true.
    fn slice(
        &mut self,
        name: &str,
        track: Track,
        submitted: u64,
        (began, ended, at): (u64, u64, u64),
        arguments: &[(&str, Value<'_>)],
    ) {
        let began = began.clamp(submitted.max(self.origin).min(at), at);
        let ended = ended.clamp(began, at);
        self.begin_event("X", name, "task", track.pid, track.lane, began);
        self.text.push_str(",\"dur\":");
        time(&mut self.text, ended - began);
        let mut arguments = arguments.to_vec();
        if submitted > 0 {
            arguments.push(("queued_us", Value::Time(began.saturating_sub(submitted))));
        }
        self.end_event(&arguments);
    }

    /// Something that took no time.
    fn mark(
        &mut self,
        name: &str,
        category: &str,
        pid: u32,
        at: u64,
        arguments: &[(&str, Value<'_>)],
    ) {
        self.begin_event("i", name, category, pid, 0, at);
        self.text.push_str(",\"s\":\"p\"");
        self.end_event(arguments);
    }

    /// What a process or thread is called.
    fn name(&mut self, what: &str, pid: u32, lane: usize, name: &str) {
        self.begin_event("M", what, "", pid, lane, self.origin);
        self.end_event(&[("name", Value::Text(name))]);
    }

    fn begin_event(
        &mut self,
        phase: &str,
        name: &str,
        category: &str,
        pid: u32,
        lane: usize,
        at: u64,
    ) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push_str(",\n");
        }
        let _ = write!(self.text, "{{\"ph\":\"{phase}\",\"cat\":\"{category}\",\"name\":");
        quote(&mut self.text, name);
        // A thread with the number 0 is one that is never shown.
        let _ = write!(self.text, ",\"pid\":{pid},\"tid\":{},\"ts\":", lane + 1);
        time(&mut self.text, at.saturating_sub(self.origin));
    }

    fn end_event(&mut self, arguments: &[(&str, Value<'_>)]) {
        self.text.push_str(",\"args\":{");
        for (index, (key, value)) in arguments.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            quote(&mut self.text, key);
            self.text.push(':');
            match value {
                Value::Text(text) => quote(&mut self.text, text),
                Value::Number(number) => {
                    let _ = write!(self.text, "{number}");
                }
                Value::Time(nanoseconds) => time(&mut self.text, *nanoseconds),
            }
        }
        self.text.push_str("}}");
    }
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Number(u32),
    Time(u64),
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("end", &self.end).finish_non_exhaustive()
    }
}

/// Microseconds, as trace events want them.
fn time(text: &mut String, nanoseconds: u64) {
    let _ = write!(text, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
}

fn quote(text: &mut String, raw: &str) {
    text.push('"');
    for character in raw.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\0'..='\x1f' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}
