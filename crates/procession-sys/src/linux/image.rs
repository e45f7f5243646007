//! The running executable: what lies in it, and which build it is.

use std::ffi::{c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::OnceLock;

/// Names one build of an executable: equal in two processes only if both run the same image.
pub type Identity = [u8; 32];

/// The main executable of this process as the loader mapped it.
#[derive(Debug)]
pub struct Image {
    base: usize,
    segments: Vec<Range<usize>>,
    identity: Identity,
}

impl Image {
    /// Returns the main executable's image.
    #[must_use]
    pub fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(read_main_image)
    }

    /// Returns the name of this build.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
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
        return Image { base: 0, segments: Vec::new(), identity: [0; 32] };
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
    Image { base, segments, identity: identity(note, &headers, base) }
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
    fn hostile_offsets_are_refused() {
        let image = Image::main();
        for offset in [u64::MAX, u64::MAX / 2, 1 << 40] {
            assert_eq!(image.address_of(offset, 8, 8), None, "{offset}");
        }
        let last = image.segments.last().expect("segments").end - image.base;
        assert_eq!(image.address_of(last as u64 - 4, 8, 1), None, "the end of a segment");
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
