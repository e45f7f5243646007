//! A directory with the worst that a directory of images can have.

use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use image::{GrayImage, ImageError, RgbImage};

use crate::decode::step;

/// A folder that goes with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the folder for what is temporary.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the directory.
pub(crate) fn make() -> io::Result<Folder> {
    let folder = Folder(env::temp_dir().join(format!("thumbnails-{}", process::id())));
    fs::create_dir(folder.path())?;
    let path = |name: &str| folder.path().join(name);

    for number in 1..=8u32 {
        let picture = RgbImage::from_fn(1200, 900, |x, y| {
            image::Rgb([x * number, y * number, x * y / (40 * number)].map(|value| value as u8))
        });
        let format = if number % 2 == 0 { "png" } else { "jpg" };
        picture.save(path(&format!("photo-{number}.{format}"))).map_err(other)?;
    }
    // A picture of which half has come.
    let whole = fs::read(path("photo-2.png"))?;
    fs::write(path("half.png"), &whole[..whole.len() / 2])?;
    fs::write(path("page.jpg"), "<html>404: no such picture</html>")?;
    // Some kilobytes that want 120 megabytes.
    GrayImage::new(11_000, 11_000).save(path("bomb.png")).map_err(other)?;

    let run = |count: u16| [&[step::RUN, 128], &count.to_be_bytes()[..]].concat();
    let toys: [(&str, Vec<u8>); 5] = [
        ("good.rle", [step::GROUP].into_iter().chain(run(640 * 48)).chain([step::END]).collect()),
        // Too many pixels for the picture.
        ("long.rle", run(u16::MAX)),
        // Goes back to where it came from, for ever.
        ("loop.rle", vec![step::BACK, 0, 3]),
        // A group in a group in a group.
        ("deep.rle", vec![step::GROUP; 4 << 20]),
        // Crashes its decoder the first time.
        ("once.rle", [step::TABLE].into_iter().chain(run(640 * 48)).collect()),
    ];
    for (name, steps) in toys {
        let head = [b"RLE1", &640u16.to_be_bytes()[..], &48u16.to_be_bytes()].concat();
        fs::write(path(name), [head, steps].concat())?;
    }
    Ok(folder)
}

fn other(error: ImageError) -> io::Error {
    match error {
        ImageError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
