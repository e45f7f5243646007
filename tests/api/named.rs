//! Shared memory under a name: made, found, refused, taken away.

use std::error::Error as _;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use procession::{NameError, Process, SharedMemory, StartMethod};
use procession_tests::{fail, for_each_method, join, raw, tests};

for_each_method! {
    a_child_finds_it_by_its_name,
    a_named_one_is_a_value,
    a_name_outlives_who_made_it_and_can_be_removed,
}

tests! {
    one_of_many_creates_it,
    nobody_opens_one_half_made,
    what_has_the_name_already_is_told,
    names_that_cannot_be_are_refused,
    only_its_user_has_it,
    what_is_not_ours_is_refused,
    another_version_is_told_with_both,
    a_file_cut_short_is_an_error,
    names_are_unlinked_once,
    what_cannot_be_mapped_leaves_no_name,
}

/// A name that nothing else has, unlinked when the test is over.
struct Name(String);

impl Name {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("test-{}-{count}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/procession-{}", self.0))
    }

    fn is_leftover(&self) -> bool {
        let leftovers = SharedMemory::leftovers().expect("the folder is there");
        leftovers.iter().any(|leftover| leftover.name() == self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Most tests have done so themselves.
        let _ = fs::remove_file(self.path()).or_else(|_| fs::remove_dir(self.path()));
    }
}

fn read<const N: usize>(memory: &SharedMemory, offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    memory.read(offset, &mut bytes).expect("inside");
    bytes
}

fn a_child_finds_it_by_its_name(method: StartMethod) {
    let name = Name::new();
    let memory = SharedMemory::create(&name.0, 1000).expect("the name is free");
    memory.write(990, b"from us").expect("inside");
    let opens = |name: String| {
        let memory = SharedMemory::open(&name).expect("it has a name");
        memory.write(0, b"from it").expect("inside");
        (memory.len(), memory.name().map(str::to_owned), read::<7>(&memory, 990).to_vec())
    };
    let seen = join(Process::new(opens, (name.0.clone(),)), method);
    assert_eq!(seen, (1000, Some(name.0.clone()), b"from us".to_vec()));
    assert_eq!(&read::<7>(&memory, 0), b"from it");
    SharedMemory::unlink(&name.0).expect("it has a name");
    assert_eq!(&read::<7>(&memory, 0), b"from it", "who has it keeps it");
    assert_eq!(memory.name(), Some(&*name.0), "the one under which it was made");
}

fn a_named_one_is_a_value(method: StartMethod) {
    let name = Name::new();
    let memory = SharedMemory::create(&name.0, 10).expect("the name is free");
    SharedMemory::unlink(&name.0).expect("it has a name");
    let writes = |mut memory: SharedMemory| {
        memory.write(3, b"yes").expect("inside");
        assert!(memory.write(8, b"no!").is_err() && memory.read(11, &mut []).is_err());
        // SAFETY: the parent waits meanwhile.
        let bytes = unsafe { memory.as_mut_slice() };
        bytes[9] = 7;
        assert_eq!(bytes.as_ptr().addr() % 64, 0);
        memory
    };
    let back = join(Process::new(writes, (memory.clone(),)), method);
    assert_eq!((back.len(), back.name()), (10, Some(&*name.0)));
    drop(memory);
    // SAFETY: nobody else has it any more.
    assert_eq!(unsafe { back.as_slice() }, b"\0\0\0yes\0\0\0\x07");
}

fn a_name_outlives_who_made_it_and_can_be_removed(method: StartMethod) {
    let name = Name::new();
    let dies = |name: String| {
        let memory = SharedMemory::create(&name, 5).expect("the name is free");
        memory.write(0, b"whole").expect("inside");
        std::process::abort();
    };
    fail(Process::<()>::new(dies, (name.0.clone(),)), method);
    let memory = SharedMemory::open(&name.0).expect("it is still there");
    assert_eq!(&read::<5>(&memory, 0), b"whole");
    assert!(!name.is_leftover(), "it is in use");
    drop(memory);
    let mut leftovers = SharedMemory::leftovers().expect("the folder is there");
    leftovers.retain(|leftover| leftover.name() == name.0);
    let [leftover] = <[_; 1]>::try_from(leftovers).expect("it is found, once");
    assert!(leftover.maker() > 0 && leftover.bytes() >= 5, "{leftover:?}");
    let other = leftover.clone();
    leftover.remove().expect("it is there");
    let error = other.remove().expect_err("it is gone");
    assert!(matches!(error, NameError::NotFound { .. }), "{error:?}");
    let error = SharedMemory::open(&name.0).expect_err("it is gone");
    assert_eq!(
        error.to_string(),
        format!(
            "there is no shared memory named `{}`: it was not created yet, or its name was unlinked",
            name.0
        )
    );
}

fn one_of_many_creates_it() {
    let name = Name::new();
    for _ in 0..20 {
        let created: usize = std::thread::scope(|scope| {
            let create = || scope.spawn(|| SharedMemory::create(&name.0, 100).ok());
            let threads: Vec<_> = (0..4).map(|_| create()).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).count()
        });
        assert_eq!(created, 1);
        SharedMemory::unlink(&name.0).expect("one has it");
    }
}

fn nobody_opens_one_half_made() {
    const LENGTH: usize = 300_000;
    let name = Name::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                drop(SharedMemory::create(&name.0, LENGTH).expect("the name is free"));
                SharedMemory::unlink(&name.0).expect("it has a name");
            }
            drop(SharedMemory::create(&name.0, 1).expect("the name is free"));
        });
        loop {
            match SharedMemory::open(&name.0) {
                Err(NameError::NotFound { .. }) => {}
                Ok(memory) if memory.len() == LENGTH => {
                    assert_eq!(read::<8>(&memory, LENGTH - 8), [0; 8]);
                }
                Ok(memory) => return assert_eq!(memory.len(), 1),
                Err(error) => panic!("{error}"),
            }
        }
    });
    SharedMemory::unlink(&name.0).expect("it has a name");
}

fn what_has_the_name_already_is_told() {
    let name = Name::new();
    let _memory = SharedMemory::create(&name.0, 1).expect("the name is free");
    let error = SharedMemory::create(&name.0, 1).expect_err("it is not");
    assert!(matches!(&error, NameError::Exists { name: taken } if *taken == name.0), "{error:?}");
    let says = error.to_string();
    assert!(says.contains("exists already: open it, or unlink the name first"), "{says}");
}

fn names_that_cannot_be_are_refused() {
    let long = "x".repeat(245);
    let all = [
        ("", "cannot be empty"),
        ("a/b", "has a `/` or a NUL"),
        ("/a", "has a `/` or a NUL"),
        ("a\0", "has a `/` or a NUL"),
        (&long, "245 bytes is too long"),
    ];
    for (name, expected) in all {
        let errors = [
            SharedMemory::create(name, 1).map(drop),
            SharedMemory::open(name).map(drop),
            SharedMemory::unlink(name),
        ];
        for error in errors {
            let error = error.expect_err(name);
            assert!(matches!(error, NameError::Invalid { .. }), "{error:?}");
            let says = error.to_string();
            assert!(says.contains(expected) && says.contains("use 1 to 244 bytes"), "{says}");
        }
    }
    let longest = Name("y".repeat(244));
    drop(SharedMemory::create(&longest.0, 1).expect("it fits"));
    assert_eq!(SharedMemory::open(&longest.0).expect("it is there").name(), Some(&*longest.0));
    let name = Name::new();
    for bytes in [0, usize::MAX, isize::MAX as usize] {
        let error = SharedMemory::create(&name.0, bytes).expect_err("no such memory");
        assert!(error.to_string().contains("ask for at least 1"), "{error}");
    }
    let error = SharedMemory::create(&name.0, 1 << 50).expect_err("no machine has so much");
    assert!(matches!(error, NameError::Io { .. }) && error.source().is_some(), "{error:?}");
    assert!(error.to_string().contains(&name.0), "{error}");
    assert!(!name.path().exists());
}

fn only_its_user_has_it() {
    let name = Name::new();
    let memory = SharedMemory::create(&name.0, 1).expect("the name is free");
    let status = fs::metadata(name.path()).expect("it is there");
    assert_eq!(status.mode() & 0o7777, 0o600);
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let error = SharedMemory::open(&name.0).expect_err("others may read it");
    assert!(matches!(error, NameError::Denied { .. }), "{error:?}");
    assert!(
        error.to_string().contains("other users may open it (mode 644): use another"),
        "{error}"
    );
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).expect("it is ours");
    SharedMemory::open(&name.0).expect("it is ours again");
    // Only who may give files away can see what another user's is like.
    if std::os::unix::fs::chown(name.path(), Some(12345), None).is_ok() {
        let error = SharedMemory::open(&name.0).expect_err("another's");
        assert!(matches!(error, NameError::Denied { .. }), "{error:?}");
        let says = error.to_string();
        assert!(says.contains("it belongs to user 12345: use another name"), "{says}");
        // Whoever is given it has it.
        let length = |memory: SharedMemory| memory.len();
        assert_eq!(join(Process::new(length, (memory,)), StartMethod::Spawn), 1);
    } else {
        println!("skipped: another user's file, which only root can make");
    }
}

fn what_is_not_ours_is_refused() {
    let name = Name::new();
    let refused = |expected: &str| {
        let error = SharedMemory::open(&name.0).expect_err("not ours");
        assert!(matches!(error, NameError::Foreign { .. }), "{expected}: {error:?}");
        let says = error.to_string();
        assert!(
            says.contains(expected) && says.contains("or remove /dev/shm/procession-"),
            "{says}"
        );
        let error = SharedMemory::create(&name.0, 1).expect_err("the name is taken");
        assert!(matches!(error, NameError::Exists { .. }), "{error:?}");
        assert!(!name.is_leftover());
    };
    let own = |bytes: &[u8]| {
        fs::write(name.path(), bytes).expect("the folder is ours to write");
        fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).expect("it is ours");
    };
    own(b"");
    refused("it has another beginning");
    own(&[7; 10_000]);
    refused("it has another beginning");
    SharedMemory::unlink(&name.0).expect("whatever it is");
    std::os::unix::fs::symlink("/etc/passwd", name.path()).expect("a link");
    refused("it is no file");
    SharedMemory::unlink(&name.0).expect("whatever it is");
    fs::create_dir(name.path()).expect("a folder");
    refused("it is no file");
    let error = SharedMemory::unlink(&name.0).expect_err("a folder");
    assert!(matches!(error, NameError::Foreign { .. }), "{error:?}");
    fs::remove_dir(name.path()).expect("it is empty");

    for length in [0, 4095, 4096, 4100, 5000, 1 << 40] {
        drop(SharedMemory::create(&name.0, 100).expect("the name is free"));
        let file = File::options().write(true).open(name.path()).expect("it is ours");
        file.set_len(length).expect("it is ours");
        let error = SharedMemory::open(&name.0).expect_err("of another length");
        assert!(matches!(error, NameError::Foreign { .. }), "{length}: {error:?}");
        SharedMemory::unlink(&name.0).expect("it is there");
    }
}

fn another_version_is_told_with_both() {
    let name = Name::new();
    let memory = SharedMemory::create(&name.0, 100).expect("the name is free");
    let file = File::options().write(true).open(name.path()).expect("it is ours");
    file.write_at(&99u32.to_ne_bytes(), 8).expect("it is ours");
    let error = SharedMemory::open(&name.0).expect_err("another version");
    assert!(matches!(error, NameError::Version { ours: 1, theirs: 99, .. }), "{error:?}");
    let says = error.to_string();
    assert!(says.contains("has layout 99, this program has layout 1: both sides need"), "{says}");
    // As a handle, too.
    let takes = |memory: SharedMemory| memory.len();
    let says = fail(Process::new(takes, (memory.clone(),)), StartMethod::Spawn).to_string();
    assert!(says.contains("has layout 99, this program has layout 1"), "{says}");
    drop(memory);
    assert!(name.is_leftover(), "of whatever version");
}

fn a_file_cut_short_is_an_error() {
    let name = Name::new();
    let memory = SharedMemory::create(&name.0, 100_000).expect("the name is free");
    let file = File::options().write(true).open(name.path()).expect("it is ours");
    file.set_len(4096 + 10).expect("it is ours");
    assert_eq!(read::<10>(&memory, 0), [0; 10]);
    memory.write(0, &[1; 10]).expect("inside");
    for (offset, count) in [(0, 11), (10, 1), (99_999, 1)] {
        let error = memory.read(offset, &mut vec![0; count]).expect_err("cut off").to_string();
        let expected =
            format!("{count} bytes at {offset} are not all inside shared memory of 10 bytes");
        assert_eq!(error, expected);
        let error = memory.write(offset, &vec![0; count]).expect_err("cut off").to_string();
        assert_eq!(error, expected);
    }
    file.set_len(0).expect("it is ours");
    assert!(memory.read(0, &mut [0]).is_err() && memory.write(0, &[0]).is_err());
    assert_eq!(fs::metadata(name.path()).expect("it is there").len(), 0, "it does not grow again");
}

fn names_are_unlinked_once() {
    let name = Name::new();
    drop(SharedMemory::create(&name.0, 1).expect("the name is free"));
    SharedMemory::unlink(&name.0).expect("it is there");
    let error = SharedMemory::unlink(&name.0).expect_err("it is gone");
    assert!(matches!(&error, NameError::NotFound { name: gone } if *gone == name.0), "{error:?}");
}

fn what_cannot_be_mapped_leaves_no_name() {
    const BYTES: usize = 64 << 20;
    let name = Name::new();
    let create = |name: String| {
        let status = fs::read_to_string("/proc/self/status").expect("proc");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let size = size.and_then(|size| size.trim().strip_suffix(" kB"));
        let size: usize = size.and_then(|size| size.parse().ok()).expect("a number");
        // The memory can be had, but no place for it.
        let most = size * 1024 + BYTES / 2;
        raw::set_limit(libc::RLIMIT_AS, most as u64).expect("a lower limit is allowed");
        SharedMemory::create(&name, BYTES).map(drop).map_err(|error| error.to_string())
    };
    let created = join(Process::new(create, (name.0.clone(),)), StartMethod::Spawn);
    let error = created.expect_err("there is no place for it");
    assert!(error.contains("cannot be created"), "{error}");
    assert!(matches!(SharedMemory::open(&name.0), Err(NameError::NotFound { .. })));
}
