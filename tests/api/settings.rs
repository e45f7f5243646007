//! What a child is given beside its arguments: environment, directory, group, memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use procession::{Group, JoinError, Process, StartError, StartMethod};
use procession_tests::{
    Folder, METHODS, fail, for_each_method, join, method_name, program, raw, start, tests,
};

for_each_method!(
    variables_are_set_removed_and_cleared,
    odd_variables_cross,
    directories,
    groups,
    a_group_of_another_child_can_be_joined,
    memory_limits_hold,
    a_memory_limit_that_is_too_small_says_so,
    the_settings_of_the_moment_of_the_start_count,
);
tests!(
    impossible_variables_are_refused,
    impossible_directories_are_refused,
    impossible_groups_are_refused,
);

type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

fn variables() -> Variables {
    std::env::vars_os().map(|(key, value)| (key.into_vec(), value.into_vec())).collect()
}

fn variable(key: String) -> Option<String> {
    std::env::var(key).ok()
}

fn variables_are_set_removed_and_cleared(method: StartMethod) {
    let child = || Process::new(variable, ("PROCESSION_TEST".to_owned(),));
    assert_eq!(join(child(), method), None);
    assert_eq!(join(child().env("PROCESSION_TEST", "1"), method).as_deref(), Some("1"));
    let twice = child().env("PROCESSION_TEST", "1").env("PROCESSION_TEST", "2");
    assert_eq!(join(twice, method).as_deref(), Some("2"));
    let empty = child().env("PROCESSION_TEST", "");
    assert_eq!(join(empty, method).as_deref(), Some(""));
    let removed = child().env("PROCESSION_TEST", "1").env_remove("PROCESSION_TEST");
    assert_eq!(join(removed, method), None);
    let again = child().env_remove("PROCESSION_TEST").env("PROCESSION_TEST", "3");
    assert_eq!(join(again, method).as_deref(), Some("3"));
    let cleared = child().env("PROCESSION_TEST", "1").env_clear();
    assert_eq!(join(cleared, method), None);
    let after = child().env_clear().env("PROCESSION_TEST", "4");
    assert_eq!(join(after, method).as_deref(), Some("4"));

    // Everything else is the parent's own, and the parent's own is unchanged.
    let before = variables();
    assert!(!before.is_empty(), "the tests have an environment");
    assert_eq!(join(Process::new(variables, ()), method), before);
    assert_eq!(join(Process::new(variables, ()).env_clear(), method), Variables::new());
    let one = join(Process::new(variables, ()).env_clear().env("A", "b"), method);
    assert_eq!(one, Variables::from([(b"A".to_vec(), b"b".to_vec())]));
    assert_eq!(variables(), before);
    let path = join(Process::new(variables, ()).env_remove("PATH"), method);
    let mut without_path = before;
    without_path.remove(b"PATH".as_slice());
    assert_eq!(path, without_path);
}

fn odd_variables_cross(method: StartMethod) {
    let pairs: [(&[u8], &[u8]); 6] = [
        (b"with space", b" "),
        ("\u{e4}\u{1F980}".as_bytes(), "\u{e4}".as_bytes()),
        (b"not text \xff", b"\xfe=\xff"),
        (b"lines\n", b"a\nb\n"),
        (b"1", b"=="),
        (b"%$'\"\\", b"$PATH"),
    ];
    let large = vec![b'x'; 100_000];
    let mut process =
        Process::new(variables, ()).env_clear().env("large", OsString::from_vec(large.clone()));
    for (key, value) in pairs {
        process = process.env(std::ffi::OsStr::from_bytes(key), std::ffi::OsStr::from_bytes(value));
    }
    let mut expected: Variables =
        pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    expected.insert(b"large".to_vec(), large);
    assert_eq!(join(process, method), expected);
}

fn impossible_variables_are_refused() {
    let bad: [(&str, Option<&str>); 7] = [
        ("", Some("v")),
        ("a=b", Some("v")),
        ("=", Some("v")),
        ("a\0b", Some("v")),
        ("a", Some("v\0w")),
        ("", None),
        ("a=b", None),
    ];
    for method in METHODS {
        for (key, value) in bad {
            let process = Process::new(variables, ()).start_method(method);
            let process = match value {
                Some(value) => process.env(key, value),
                None => process.env_remove(key),
            };
            let error = process.start().expect_err(key);
            let StartError::Environment { key: named } = &error else { panic!("{error:?}") };
            assert_eq!(named, key);
            assert!(error.to_string().contains(&format!("{key:?}")), "{error}");
        }
    }
}

fn here() -> PathBuf {
    std::env::current_dir().expect("the current directory")
}

fn directories(method: StartMethod) {
    assert_eq!(join(Process::new(here, ()), method), here());
    assert_eq!(join(Process::new(here, ()).current_dir("/usr"), method), Path::new("/usr"));
    assert_eq!(
        join(Process::new(here, ()).current_dir("/usr").current_dir("/"), method),
        Path::new("/")
    );
    // Tests run in their package's folder.
    assert_eq!(join(Process::new(here, ()).current_dir("api"), method), here().join("api"));
    assert_eq!(join(Process::new(here, ()).current_dir("."), method), here());
    let folder = Folder::new();
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"odd \n\xff"));
    std::fs::create_dir(&odd).expect("made");
    let name = || here().file_name().map(|name| name.as_bytes().to_vec());
    let inside = join(Process::new(name, ()).current_dir(&odd), method);
    assert_eq!(inside.as_deref(), odd.file_name().map(OsStrExt::as_bytes));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/usr", &link).expect("linked");
    assert_eq!(join(Process::new(here, ()).current_dir(link), method), Path::new("/usr"));
}

fn impossible_directories_are_refused() {
    let file = here().join("Cargo.toml");
    for method in METHODS {
        for bad in ["/no/such/place", "", "a\0b", file.to_str().expect("text")] {
            let process = Process::new(here, ()).current_dir(bad).start_method(method);
            let error = process.start().expect_err("no directory");
            let StartError::CurrentDir { path, .. } = &error else { panic!("{error:?}") };
            assert_eq!(path, Path::new(bad));
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}

fn groups(method: StartMethod) {
    assert_eq!(join(Process::new(raw::group, ()), method), raw::group());
    assert_eq!(join(Process::new(raw::group, ()).group(Group::Inherit), method), raw::group());
    let own = start(Process::new(raw::group, ()).group(Group::New), method);
    assert_eq!(own.pid(), own.join().expect("join"));
    let joined = Process::new(raw::group, ()).group(Group::Join(raw::group()));
    assert_eq!(join(joined, method), raw::group());
}

/// Waits for the end of its pipe, then tells its group.
fn group_later(until: procession::Receiver<()>) -> u32 {
    assert!(until.recv().is_err());
    raw::group()
}

fn a_group_of_another_child_can_be_joined(method: StartMethod) {
    let (until, release) = procession::simplex().expect("pipe");
    let leader = start(Process::new(group_later, (until,)).group(Group::New), method);
    for _ in 0..20 {
        let member = Process::new(raw::group, ()).group(Group::Join(leader.pid()));
        assert_eq!(join(member, method), leader.pid());
    }
    drop(release);
    assert_eq!(leader.pid(), leader.join().expect("join"));
}

fn impossible_groups_are_refused() {
    for method in METHODS {
        // 0 and what is no number of a process; one beyond the largest that there can be.
        for bad in [0, u32::MAX, 1 << 30] {
            let process = Process::new(raw::group, ()).group(Group::Join(bad)).start_method(method);
            let error = process.start().expect_err("no such group");
            let StartError::Group { id, .. } = &error else { panic!("{bad}: {error:?}") };
            assert_eq!(*id, bad);
            assert!(error.to_string().contains(&bad.to_string()), "{error}");
        }
    }
}

const LIMIT: u64 = 256 << 20;

fn memory_limits_hold(method: StartMethod) {
    let half =
        || vec![1u8; LIMIT as usize / 2].iter().step_by(4096).map(|b| u64::from(*b)).sum::<u64>();
    assert_eq!(join(Process::new(half, ()).memory_limit(LIMIT), method), LIMIT / 2 / 4096);
    // Who asks first is told no, and lives.
    let asks = || Vec::<u8>::new().try_reserve_exact(2 * LIMIT as usize).is_err();
    assert!(join(Process::new(asks, ()).memory_limit(LIMIT), method));
    assert!(!join(Process::new(asks, ()), method), "the limit was another child's");
    let twice = || vec![1u8; 2 * LIMIT as usize].len();
    let error = fail(Process::new(twice, ()).memory_limit(LIMIT), method);
    assert!(matches!(error, JoinError::OutOfMemory { limit: Some(LIMIT) }), "{error:?}");
    assert!(error.to_string().contains(&LIMIT.to_string()), "{error}");
    let no_limit = Process::new(|| 1, ()).memory_limit(u64::MAX);
    assert_eq!(join(no_limit, method), 1);
}

fn a_memory_limit_that_is_too_small_says_so(method: StartMethod) {
    for limit in [0, 1, 4096, 200 << 10] {
        let error = fail(Process::new(|| 1, ()).memory_limit(limit), method);
        let JoinError::Bootstrap { message } = &error else { panic!("{limit}: {error:?}") };
        assert!(message.contains(&format!("memory limit of {limit} bytes")), "{message}");
        assert!(message.contains("raise the limit"), "{message}");
    }
}

fn the_settings_of_the_moment_of_the_start_count(method: StartMethod) {
    program!("environment").arg("at_start").arg(method_name(method)).succeed();
}
