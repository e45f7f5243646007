//! Plain bytes in shared memory: loom is told who reads and writes them, eight at a time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::rc::Rc;
use std::thread::panicking;

use loom::cell::UnsafeCell;

use super::check::step;

type Cells = HashMap<usize, Rc<UnsafeCell<()>>>;

thread_local! {
    /// Every thread of a model runs in one thread of the system's.
    static CELLS: RefCell<Cells> = RefCell::default();
}

/// Forgets what an earlier run has done.
pub(super) fn begin() {
    let old = CELLS.with_borrow_mut(std::mem::take);
    drop(old);
}

fn each_cell(start: NonNull<u8>, length: usize, touch: impl Fn(&UnsafeCell<()>)) {
    if panicking() || length == 0 {
        return;
    }
    step();
    let first = start.addr().get() / 8;
    for index in first..=(start.addr().get() + length - 1) / 8 {
        let cell = CELLS.with_borrow_mut(|cells| {
            Rc::clone(cells.entry(index).or_insert_with(|| Rc::new(UnsafeCell::new(()))))
        });
        touch(&cell);
    }
}

pub(crate) fn will_read(start: NonNull<u8>, length: usize) {
    each_cell(start, length, |cell| cell.with(|_| ()));
}

pub(crate) fn will_write(start: NonNull<u8>, length: usize) {
    each_cell(start, length, |cell| cell.with_mut(|_| ()));
}
