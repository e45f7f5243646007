//! The running executable: what lies in it, and which build it is.

use std::ffi::{c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Names one build of an executable: equal in two processes only if both run the same image.
pub type Identity = [u8; 32];

/// The main executable of this process as the loader mapped it.
#[derive(Debug)]
pub struct Image {
    base: usize,
    segments: Vec<Range<usize>>,
    identity: Identity,
    /// Where the addresses of its constructors are; empty if that is unknown.
    constructors: Range<usize>,
}

/// A constructor, with the arguments that glibc passes to it.
pub type Constructor = extern "C" fn(c_int, *const *const libc::c_char, *const *const libc::c_char);

impl Image {
    /// Returns the main executable's image.
    #[must_use]
    pub fn main() -> &'static Self {
        // Not a `OnceLock`: a copy forked while another thread fills one waits for that thread for ever.
        static MAIN: AtomicPtr<Image> = AtomicPtr::new(ptr::null_mut());
        // ORDERING: Acquire pairs with the Release below: what it points to is there.
        let known = MAIN.load(Ordering::Acquire);
        // SAFETY: null, or leaked below and never changed or freed.
        if let Some(known) = unsafe { known.as_ref() } {
            return known;
        }
        let new = Box::into_raw(Box::new(read_main_image()));
        match MAIN.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: leaked just now, and never changed or freed from here on.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: another thread was faster: nobody has seen ours, which is a box's.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: not null, and leaked by that thread.
                unsafe { &*other }
            }
        }
    }

    /// Tells whether executing this process's executable again would run this image: not so for a
    /// program that was started as the argument of a loader.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        let inside = self.segments.first().map_or(0, |segment| segment.start);
        let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return true };
        let mapped = maps.lines().find_map(|line| {
            let mut words = line.splitn(6, ' ');
            let (from, to) = words.next()?.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            let (_, _, _, inode) = (words.next()?, words.next()?, words.next()?, words.next()?);
            let path = words.next().unwrap_or_default().trim_start();
            (number(from)?..number(to)?).contains(&inside).then_some((inode, path))
        });
        let Some((inode, path)) = mapped else { return true };
        // Some file systems show one file under two numbers; none under two paths as well.
        let executable = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let known = std::fs::metadata("/proc/self/exe").map(|file| file.ino().to_string());
        executable == Path::new(path) || known.is_ok_and(|known| known == inode)
    }

    /// Returns the name of this build.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the constructors that the loader runs after the one at `place`.
    ///
    /// None if `place` is not one of this image's, or the image does not tell (one that is linked
    /// statically at a fixed address).
    pub fn constructors_after(
        &self,
        place: &'static Constructor,
    ) -> impl Iterator<Item = Constructor> {
        const SIZE: usize = size_of::<Constructor>();
        let Range { start, end } = self.constructors;
        let place = &raw const *place as usize;
        let known = (start..end).contains(&place) && (place - start).is_multiple_of(SIZE);
        let rest = if known { place + SIZE..end } else { 0..0 };
        rest.step_by(SIZE).filter_map(|place| {
            let place = place as *const Option<Constructor>;
            // SAFETY: the image's headers say that here, up to `end`, are the addresses of its
            // constructors, which the loader has relocated; null is the linker's padding.
            unsafe { place.read() }
        })
    }

    /// Returns how far `address` lies from the image's base, or `None` if it lies outside of it.
    #[must_use]
    pub fn offset_of(&self, address: usize) -> Option<u64> {
        self.segments.iter().any(|s| s.contains(&address)).then(|| (address - self.base) as u64)
    }

    /// Returns the address of `size` readable bytes at `offset`, or `None` if they are not all
    /// inside one segment or not aligned to `align`.
    #[must_use]
    pub fn address_of(&self, offset: u64, size: usize, align: usize) -> Option<usize> {
        let start = self.base.checked_add(usize::try_from(offset).ok()?)?;
        let end = start.checked_add(size)?;
        let inside = self.segments.iter().any(|s| s.start <= start && end <= s.end);
        (inside && start.is_multiple_of(align)).then_some(start)
    }
}

/// What the loader's iteration tells of its first object, which is the main executable.
struct Headers {
    base: usize,
    headers: Vec<libc::Elf64_Phdr>,
}

unsafe extern "C" fn take_first(
    info: *mut libc::dl_phdr_info,
    _: usize,
    out: *mut c_void,
) -> c_int {
    // SAFETY: `dl_iterate_phdr` calls with a valid info, alive for the duration of this call.
    let info = unsafe { &*info };
    // SAFETY: `out` is the `&mut Option<Headers>` that `read_main_image` passed in, used only here.
    let out = unsafe { &mut *out.cast::<Option<Headers>>() };
    // SAFETY: the loader describes `dlpi_phnum` headers at `dlpi_phdr`, mapped while the object is
    // loaded, and the main executable always is.
    let headers = unsafe {
        std::slice::from_raw_parts(
            info.dlpi_phdr.cast::<libc::Elf64_Phdr>(),
            usize::from(info.dlpi_phnum),
        )
    };
    *out = Some(Headers { base: info.dlpi_addr as usize, headers: headers.to_vec() });
    1 // one object is enough
}

fn read_main_image() -> Image {
    let mut found: Option<Headers> = None;
    // SAFETY: the callback matches the signature and treats its last argument as what it is.
    unsafe { libc::dl_iterate_phdr(Some(take_first), (&raw mut found).cast()) };
    let Some(Headers { base, headers }) = found else {
        let identity = [0; 32];
        return Image { base: 0, segments: Vec::new(), identity, constructors: 0..0 };
    };
    let range = |header: &libc::Elf64_Phdr| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        start..start.wrapping_add(header.p_memsz as usize)
    };
    let segments = headers
        .iter()
        .filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_R != 0)
        .map(range)
        .collect();
    let note = headers.iter().filter(|h| h.p_type == libc::PT_NOTE).find_map(|h| {
        let range = range(h);
        // SAFETY: a PT_NOTE header of the main executable describes mapped, readable, constant bytes.
        let bytes = unsafe { std::slice::from_raw_parts(range.start as *const u8, range.len()) };
        build_id(bytes)
    });
    let dynamic = headers.iter().find(|h| h.p_type == libc::PT_DYNAMIC).map(range);
    let constructors = dynamic.and_then(|range| constructors(base, range)).unwrap_or(0..0);
    Image { base, segments, identity: identity(note, &headers, base), constructors }
}

/// Finds the array of constructors in an image's dynamic section.
fn constructors(base: usize, dynamic: Range<usize>) -> Option<Range<usize>> {
    const DT_INIT_ARRAY: usize = 25;
    const DT_INIT_ARRAYSZ: usize = 27;
    /// A tag and a value.
    type Entry = [usize; 2];
    let length = dynamic.len() / size_of::<Entry>();
    // SAFETY: a PT_DYNAMIC header of the main executable describes mapped, readable entries, which
    // the loader does not write any more.
    let entries = unsafe { std::slice::from_raw_parts(dynamic.start as *const Entry, length) };
    let value = |tag| entries.iter().find(|entry| entry[0] == tag).map(|entry| entry[1]);
    let start = base.wrapping_add(value(DT_INIT_ARRAY)?);
    Some(start..start.checked_add(value(DT_INIT_ARRAYSZ)?)?)
}

/// Finds the GNU build id in the notes of a segment.
fn build_id(mut notes: &[u8]) -> Option<&[u8]> {
    const GNU_BUILD_ID: u32 = 3;
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]))
    };
    loop {
        let (name, description, kind) =
            (word(notes, 0)? as usize, word(notes, 4)? as usize, word(notes, 8)?);
        let description_at = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let found = notes.get(description_at..description_at.checked_add(description)?)?;
        if kind == GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") {
            return Some(found);
        }
        notes =
            notes.get(description_at.checked_add(description.checked_next_multiple_of(4)?)?..)?;
    }
}

/// Mixes the linker's build id, where there is one, with the layout of every segment; without a
/// build id, with the code itself.
fn identity(note: Option<&[u8]>, headers: &[libc::Elf64_Phdr], base: usize) -> Identity {
    let mut identity = [0; 32];
    for (lane, out) in identity.chunks_exact_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        lane.hash(&mut hasher);
        for h in headers {
            (h.p_type, h.p_flags, h.p_vaddr, h.p_filesz, h.p_memsz).hash(&mut hasher);
            let code = h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_X != 0;
            if note.is_none() && code {
                let start = base.wrapping_add(h.p_vaddr as usize) as *const u8;
                // SAFETY: an executable PT_LOAD segment of the main image is mapped for
                // `p_filesz` bytes and never written.
                let code = unsafe { std::slice::from_raw_parts(start, h.p_filesz as usize) };
                code.hash(&mut hasher);
            }
        }
        note.hash(&mut hasher);
        out.copy_from_slice(&hasher.finish().to_ne_bytes());
    }
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    static INSIDE: u64 = 7;

    #[test]
    fn a_static_is_inside_and_the_stack_is_not() {
        let image = Image::main();
        let address = &raw const INSIDE as usize;
        let offset = image.offset_of(address).expect("a static lies in the main image");
        assert_eq!(image.address_of(offset, 8, 8), Some(address));
        let local = 1u8;
        assert_eq!(image.offset_of(&raw const local as usize), None);
    }

    #[test]
    fn constructors_are_those_after_the_place() {
        extern "C" fn none(_: c_int, _: *const *const libc::c_char, _: *const *const libc::c_char) {
        }
        static ELSEWHERE: Constructor = none;
        let image = Image::main();
        assert_eq!(image.constructors_after(&ELSEWHERE).count(), 0);
        if image.constructors.is_empty() {
            return; // linked statically at a fixed address
        }
        // SAFETY: the array of this image's constructors is never unmapped or changed.
        let first = unsafe { &*(image.constructors.start as *const Constructor) };
        let length = image.constructors.len() / size_of::<Constructor>();
        assert!(image.constructors_after(first).count() < length);
    }

    #[test]
    fn hostile_offsets_are_refused() {
        let image = Image::main();
        for offset in [u64::MAX, u64::MAX / 2, 1 << 40] {
            assert_eq!(image.address_of(offset, 8, 8), None, "{offset}");
        }
        let last = image.segments.last().expect("segments").end - image.base;
        assert_eq!(image.address_of(last as u64 - 4, 8, 1), None, "the end of a segment");
    }

    #[test]
    fn it_is_what_would_be_executed() {
        assert!(Image::main().is_executable());
    }

    #[test]
    fn identity_is_not_empty() {
        assert_ne!(Image::main().identity(), [0; 32]);
    }

    #[test]
    fn build_id_survives_garbage() {
        assert_eq!(build_id(&[0xff; 64]), None);
        assert_eq!(build_id(&[0; 7]), None);
        assert_eq!(build_id(&[]), None);
    }
}
