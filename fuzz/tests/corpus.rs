//! Every file of the corpus, through what it was found with, by whatever compiler.

use std::fs;
use std::path::Path;

fn replay(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("the corpus is there").flatten().map(|f| f.path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{} has but {} files", folder.display(), files.len());
    for file in files {
        // For who looks for the one at which it stopped.
        println!("{}", file.display());
        run(&fs::read(&file).expect("a file"));
    }
}

#[test]
fn segment() {
    replay("segment", procession_fuzz::segment);
}

#[test]
fn frame() {
    replay("frame", procession_fuzz::frame);
}

#[test]
fn codec() {
    replay("codec", procession_fuzz::codec);
}
