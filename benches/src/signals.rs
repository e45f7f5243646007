//! Two processes that let each other go on by turns: what has no message.

use std::error::Error;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};

use procession::{Child, Condition, Event, Semaphore};

use crate::pipe::{Duty, End, Outcome, serve};
use crate::posix::{RobustMutex, SharedCondition, SharedSemaphore};
use crate::system;

/// One side: what it does to let the other go on, and how it waits to be let.
struct Signals {
    send: Box<dyn FnMut()>,
    receive: Box<dyn FnMut()>,
}

impl Signals {
    fn new(send: impl FnMut() + 'static, receive: impl FnMut() + 'static) -> Self {
        Self { send: Box::new(send), receive: Box::new(receive) }
    }
}

impl End for Signals {
    fn send(&mut self, _bytes: usize) -> Outcome {
        (self.send)();
        Ok(())
    }

    fn receive(&mut self, _bytes: usize) -> Outcome {
        (self.receive)();
        Ok(())
    }
}

/// The near side, and the child that would wait for it for ever.
struct WithChild(Signals, Option<Child<()>>);

impl End for WithChild {
    fn send(&mut self, bytes: usize) -> Outcome {
        self.0.send(bytes)
    }

    fn receive(&mut self, bytes: usize) -> Outcome {
        self.0.receive(bytes)
    }
}

impl Drop for WithChild {
    fn drop(&mut self) {
        if let Some(child) = self.1.take() {
            let _ = child.kill();
            let _ = child.join();
        }
    }
}

/// Starts the far side and gives the near end; `None` if `what` is nothing of this kind.
pub(crate) fn connect(what: &str, duty: Duty) -> Result<Option<Box<dyn End>>, Box<dyn Error>> {
    let (near, mut far) = match what {
        "event" => events()?,
        "semaphore" => semaphores()?,
        "condition" => condition()?,
        "sem_t" => posix_semaphores()?,
        "pthread_cond" => posix_condition()?,
        "futex" => words(true)?,
        "spin" => words(false)?,
        _ => return Ok(None),
    };
    let work = move || {
        system::die_with_parent();
        serve(duty, &mut far);
    };
    if matches!(what, "event" | "semaphore" | "condition") {
        // SAFETY: the other thread of this process is procession's own, which it minds.
        let child = unsafe { procession::fork(work) }?;
        return Ok(Some(Box::new(WithChild(near, Some(child)))));
    }
    system::fork(work)?;
    Ok(Some(Box::new(near)))
}

type Pair = Result<(Signals, Signals), Box<dyn Error>>;

fn events() -> Pair {
    let (there, back) = (Event::new()?, Event::new()?);
    let side = |to: Event, from: Event| {
        Signals::new(
            move || to.set(),
            move || {
                from.wait();
                from.clear();
            },
        )
    };
    Ok((side(there.clone(), back.clone()), side(back, there)))
}

fn semaphores() -> Pair {
    let (there, back) = (Semaphore::new(0)?, Semaphore::new(0)?);
    let side = |to: Semaphore, from: Semaphore| {
        Signals::new(
            move || to.release().expect("there is no limit"),
            move || std::mem::forget(from.acquire().expect("nobody dies")),
        )
    };
    Ok((side(there.clone(), back.clone()), side(back, there)))
}

fn condition() -> Pair {
    let (condition, turn) = (Condition::new()?, system::shared(AtomicU32::new(0))?);
    let side = |own: u32| {
        let (sending, waiting) = (condition.clone(), condition.clone());
        Signals::new(
            move || {
                let _guard = sending.acquire().expect("nobody dies");
                // ORDERING: the lock's.
                turn.store(1 - own, Ordering::Relaxed);
                sending.notify(1);
            },
            move || {
                let guard = waiting.acquire().expect("nobody dies");
                let not_ours = || turn.load(Ordering::Relaxed) != own;
                drop(waiting.wait_while(guard, not_ours).expect("nobody dies"));
            },
        )
    };
    Ok((side(0), side(1)))
}

fn posix_semaphores() -> Pair {
    let (there, back) = (SharedSemaphore::new(0)?, SharedSemaphore::new(0)?);
    let side = |to: SharedSemaphore, from: SharedSemaphore| {
        Signals::new(move || to.post(), move || from.wait())
    };
    Ok((side(there, back), side(back, there)))
}

fn posix_condition() -> Pair {
    let (mutex, condition) = (RobustMutex::new()?, SharedCondition::new()?);
    let turn = system::shared(AtomicU32::new(0))?;
    let side = |own: u32| {
        Signals::new(
            move || {
                mutex.lock();
                // ORDERING: the mutex's.
                turn.store(1 - own, Ordering::Relaxed);
                condition.notify();
                mutex.unlock();
            },
            move || {
                mutex.lock();
                while turn.load(Ordering::Relaxed) != own {
                    condition.wait(mutex);
                }
                mutex.unlock();
            },
        )
    };
    Ok((side(0), side(1)))
}

/// The least there can be: a word for each direction, and a sleep in the kernel if `sleeps`.
fn words(sleeps: bool) -> Pair {
    let (there, back) = (system::shared(AtomicU32::new(0))?, system::shared(AtomicU32::new(0))?);
    let side = |to: &'static AtomicU32, from: &'static AtomicU32| {
        let mut seen = 0;
        Signals::new(
            move || {
                // ORDERING: the word is all that goes over.
                to.fetch_add(1, Ordering::Relaxed);
                if sleeps {
                    system::wake(to);
                }
            },
            move || {
                while from.load(Ordering::Relaxed) == seen {
                    if sleeps { system::sleep_while(from, seen) } else { spin_loop() }
                }
                seen += 1;
            },
        )
    };
    Ok((side(there, back), side(back, there)))
}
