//! Decoding and scaling one image: what runs in the workers.
//!
//! PNG and JPEG are the `image` crate's. The third format is a toy, and its decoder one of the kind
//! that pools like this are for: it believes everything that a file says.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use image::{DynamicImage, GrayImage, ImageReader};
use procession::{Array, OwnerDied};
use serde::{Deserialize, Serialize};

/// The longest side of a thumbnail.
const SIDE: u32 = 128;

/// What is known of an image that was decoded.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sizes {
    pub(crate) from: (u32, u32),
    pub(crate) to: (u32, u32),
}

/// Its sizes, or why it is no image.
pub(crate) type Decoded = Result<Sizes, String>;

/// Makes one thumbnail.
///
/// A worker that is killed says nothing, so it notes beforehand, in memory that it shares with its
/// parent, that it has begun.
pub(crate) fn thumbnail(
    path: PathBuf,
    into: Option<PathBuf>,
    number: usize,
    log: Array<u64>,
) -> Decoded {
    note(&log, number);
    let image = decode(&path)?;
    let small = image.thumbnail(SIDE, SIDE);
    if let Some(folder) = into {
        let name = path.file_name().unwrap_or_default();
        let name = Path::new(name).with_extension("png");
        small.save(folder.join(name)).map_err(|error| format!("not saved: {error}"))?;
    }
    let size = |image: &DynamicImage| (image.width(), image.height());
    Ok(Sizes { from: size(&image), to: size(&small) })
}

/// Counts a try in the log, and says when the first one began.
fn note(log: &Array<u64>, number: usize) {
    // Numbers that somebody left halfway would be no harm here.
    let mut log = log.lock().unwrap_or_else(OwnerDied::into_inner);
    log[2 * number] += 1;
    if log[2 * number] == 1 {
        log[2 * number + 1] = now();
    }
}

/// Milliseconds on a clock that all processes have.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn decode(path: &Path) -> Result<DynamicImage, String> {
    let text = |error: io::Error| format!("not readable: {error}");
    if path.extension().is_some_and(|extension| extension == "rle") {
        let bytes = fs::read(path).map_err(text)?;
        return RunLengths::decode(&bytes, path).map(DynamicImage::ImageLuma8);
    }
    let reader = ImageReader::open(path).map_err(text)?;
    let mut reader = reader.with_guessed_format().map_err(text)?;
    // The worker has a limit on all of its memory: the decoder needs none of its own.
    reader.no_limits();
    reader.decode().map_err(|error| format!("no image: {error}"))
}

/// A gray picture in runs: `RLE1`, width and height (2 bytes each), and then steps.
struct RunLengths<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
    pixels: Vec<u8>,
    filled: usize,
}

/// The steps, each a byte and what follows it.
pub(crate) mod step {
    /// A value and a count (2 bytes): so many pixels of it.
    pub(crate) const RUN: u8 = b'r';
    /// A count (2 bytes): goes back so many bytes.
    pub(crate) const BACK: u8 = b'b';
    /// Opens a group, in which steps may be groups.
    pub(crate) const GROUP: u8 = b'(';
    /// Closes a group.
    pub(crate) const END: u8 = b')';
    /// Wants a table, from a file beside this one. It is made if it is not there, by the worst code.
    pub(crate) const TABLE: u8 = b't';
}

impl<'a> RunLengths<'a> {
    fn decode(bytes: &'a [u8], path: &'a Path) -> Result<GrayImage, String> {
        let Some((b"RLE1", rest)) = bytes.split_first_chunk::<4>() else {
            return Err("no image: it does not begin with RLE1".to_owned());
        };
        let mut picture = Self { bytes: rest, at: 0, path, pixels: Vec::new(), filled: 0 };
        let (width, height) = (picture.number(), picture.number());
        picture.pixels = vec![0; width * height];
        picture.steps();
        GrayImage::from_raw(width as u32, height as u32, picture.pixels)
            .ok_or("no image: its size is wrong".to_owned())
    }

    /// A bug of its time in each arm: no check of a count, none for going nowhere, none of depth.
    fn steps(&mut self) {
        while self.filled < self.pixels.len() {
            match self.byte() {
                step::RUN => {
                    let (value, count) = (self.byte(), self.number());
                    self.pixels[self.filled..self.filled + count].fill(value);
                    self.filled += count;
                }
                step::BACK => self.at -= self.number(),
                step::GROUP => self.steps(),
                step::TABLE => self.table(),
                _ => return,
            }
        }
    }

    fn table(&self) {
        let table = self.path.with_extension("table");
        if fs::read(&table).is_err() {
            let _ = fs::write(&table, "made");
            std::process::abort();
        }
    }

    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }
}
