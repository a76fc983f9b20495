//! Keeps a container from writing to this program's file through `/proc/PID/exe` (CVE-2019-5736): the program goes on as
//! the same file on a read-only mount of its own, through which nothing can be opened for writing.
//!
//! ```text
//! mappings of the program ── each is replaced at its address ──► the same bytes, mapped from the read-only mount
//!                                                                 (changed ones, relocated or written: copied)
//! /proc/self/exe ────────── PR_SET_MM_MAP, once nothing of it is mapped any more ──► the file on that mount
//! ```
//!
//! Where the kernel refuses that, the program is executed once more from the mount; and who may not mount, but could write to
//! the file, executes a sealed copy in memory.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result, check};
use crate::{mount, path, process};

/// `MOUNT_ATTR_RDONLY`.
const RDONLY: u64 = 0x1;

/// Makes sure that nobody writes to `/proc/self/exe`: it is on a read-only mount, or for who may not mount a sealed copy in
/// memory, unless it is a file that he could not write to either. Where the mount cannot take the program's place in this
/// process, or with the copy, the program is executed again with the same arguments, and this call does not return.
///
/// # Errors
/// What the kernel says of the mount, of the copy or of the execution.
pub fn protect() -> Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let exe = path::open(Path::new("/proc/self/exe"), libc::O_PATH)?;
    let Ok(copy) = mount::open_tree(exe.as_fd(), "", false) else {
        return match is_sealed() || !can_be_written(exe.as_fd())? {
            true => Ok(()),
            false => Err(execute(&sealed_copy()?)),
        };
    };
    let read_only = mount::Attributes {
        set: RDONLY,
        ..Default::default()
    };
    mount::set_attributes(copy.as_fd(), read_only, false)?;
    drop(exe);
    let file = path::open(&path::of_fd(copy.as_fd()), libc::O_RDONLY)?;
    if crate::procfs::threads() == 1 && move_onto(&file).is_some() && is_protected()? {
        return Ok(());
    }
    Err(execute(&copy))
}

/// Executes an open program as this one was; returns only when that fails.
fn execute(program: &OwnedFd) -> Error {
    let text = |text: &std::ffi::OsStr| CString::new(text.as_bytes()).ok();
    let args: Vec<CString> = std::env::args_os().filter_map(|arg| text(&arg)).collect();
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut pair, value)| {
            pair.push("=");
            pair.push(value);
            text(&pair)
        })
        .collect();
    process::exec_fd(program.as_fd(), &args, &env)
}

/// Whether this user could write to a file, if need be after a change of its mode.
fn can_be_written(file: BorrowedFd<'_>) -> Result<bool> {
    let writable = || {
        let file = std::fs::OpenOptions::new().append(true).open(path::of_fd(file));
        // While a program runs from it that is what is said of a file that could be written.
        file.map_or_else(|error| error.raw_os_error() == Some(libc::ETXTBSY), |_| true)
    };
    Ok(path::fstat(file)?.st_uid == process::euid() || writable())
}

const SEALS: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// Whether the program is a copy already that nobody can change.
fn is_sealed() -> bool {
    let Ok(exe) = std::fs::File::open("/proc/self/exe") else {
        return false;
    };
    // SAFETY: takes a descriptor, which is open until the call returns, and an integer.
    let seals = unsafe { libc::fcntl(exe.as_raw_fd(), libc::F_GET_SEALS) };
    // Another file has none, which is an error.
    seals >= 0 && seals & SEALS == SEALS
}

/// The program in memory, where nobody can change it any more.
fn sealed_copy() -> Result<OwnedFd> {
    const MFD_EXEC: libc::c_uint = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let make = |flags| {
        // SAFETY: the text is a constant that ends with a zero.
        let made = unsafe { libc::memfd_create(c"program".as_ptr(), flags) };
        check(made, || "make a file in memory".to_owned())
    };
    let made = make(flags | MFD_EXEC).or_else(|error| match error.errno() {
        // Linux before 6.3: every one can be executed.
        libc::EINVAL => make(flags),
        _ => Err(error),
    })?;
    // SAFETY: the descriptor is new and ours.
    let mut copy = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(made as i32) });
    let copied = std::fs::File::open("/proc/self/exe").and_then(|mut exe| std::io::copy(&mut exe, &mut copy));
    copied.map_err(|source| Error::new("copy the program", source))?;
    // SAFETY: takes a descriptor of ours and integers.
    let sealed = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, SEALS) };
    check(sealed, || "seal the program's copy".to_owned())?;
    Ok(copy.into())
}

/// Whether `/proc/self/exe` is on a read-only mount.
///
/// # Errors
/// It cannot be opened.
pub fn is_protected() -> Result<bool> {
    let exe = path::open(Path::new("/proc/self/exe"), libc::O_PATH)?;
    path::is_read_only(exe.as_fd())
}

/// A part of the program in memory.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    length: usize,
    protection: i32,
    offset: i64,
}

/// The mappings of the file `exe` in the text of `/proc/self/maps`; none when one is of a kind that a program has not.
fn mappings(maps: &str, exe: &str) -> Option<Vec<Mapping>> {
    let mut found = Vec::new();
    let ending = format!(" {exe}");
    for line in maps.lines().filter(|line| line.ends_with(&ending)) {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let kind = fields.next()?;
        let offset = i64::from_str_radix(fields.next()?, 16).ok()?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let length = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
        let bit = |letter, bit| if kind.contains(letter) { bit } else { 0 };
        let protection = bit('r', libc::PROT_READ) | bit('w', libc::PROT_WRITE) | bit('x', libc::PROT_EXEC);
        if !kind.ends_with('p') || protection & libc::PROT_READ == 0 {
            return None;
        }
        found.push(Mapping {
            start,
            length,
            protection,
            offset,
        });
    }
    (!found.is_empty()).then_some(found)
}

/// The argument of `PR_SET_MM_MAP`.
#[repr(C)]
struct MemoryMap {
    /// Code, data, heap, stack, arguments and environment: eleven addresses in the kernel's order.
    addresses: [u64; 11],
    auxiliary: u64,
    auxiliary_size: u32,
    exe: u32,
}

/// Where the kernel believes the parts of this process to be, from the text of `/proc/self/stat`.
fn addresses(stat: &str, heap_end: u64) -> Option<[u64; 11]> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc_pid_stat(5) counts from one, and two fields came before the parenthesis.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some([
        field(26)?,
        field(27)?,
        field(45)?,
        field(46)?,
        field(47)?,
        heap_end,
        field(28)?,
        field(48)?,
        field(49)?,
        field(50)?,
        field(51)?,
    ])
}

/// Replaces the program's mappings by those of `file`, which is the same file on another mount, and then names it as the
/// program. None when that is not possible; the process is whole in either case. The caller has one thread.
fn move_onto(file: &OwnedFd) -> Option<()> {
    let name = std::fs::read_link("/proc/self/exe").ok()?;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let parts = mappings(&maps, name.to_str()?)?;
    for part in &parts {
        replace(part, file)?;
    }
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // SAFETY: an increment of nothing only asks where the heap ends.
    let heap_end = unsafe { libc::sbrk(0) } as u64;
    let map = MemoryMap {
        addresses: addresses(&stat, heap_end)?,
        auxiliary: 0,
        auxiliary_size: 0,
        exe: u32::try_from(file.as_raw_fd()).ok()?,
    };
    // SAFETY: the structure is what this call takes, has the size that is given and lives until it returns; the addresses
    // are those that hold already.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP,
            &raw const map,
            size_of::<MemoryMap>(),
            0,
        )
    };
    (result == 0).then_some(())
}

/// Replaces one part by the same bytes.
fn replace(part: &Mapping, file: &OwnedFd) -> Option<()> {
    let place = part.start as *mut libc::c_void;
    let unchanged = part.protection & libc::PROT_WRITE == 0
        && (part.protection & libc::PROT_EXEC != 0 || is_as_in_file(part, file)?);
    if unchanged {
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
        // SAFETY: the range is one of this program's own read-only mappings, and what takes its place has the same bytes
        // and protection: code was never changed, other parts were compared. No other thread runs.
        let new = unsafe {
            libc::mmap(
                place,
                part.length,
                part.protection,
                flags,
                file.as_raw_fd(),
                part.offset,
            )
        };
        return (new == place).then_some(());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: new memory, at an address that the kernel chooses.
    let copy = unsafe { libc::mmap(std::ptr::null_mut(), part.length, writable, flags, -1, 0) };
    if copy == libc::MAP_FAILED {
        return None;
    }
    let moving = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: both ranges are mapped, of that length, and do not overlap; the first is readable, the second ours alone.
    // From the copy to the move nothing is written to this program's static data: no memory is allocated, there is no
    // other thread, and these calls write only `errno`, which is not part of the file's mappings.
    let moved = unsafe {
        std::ptr::copy_nonoverlapping(place.cast::<u8>(), copy.cast::<u8>(), part.length);
        libc::mprotect(copy, part.length, part.protection);
        libc::mremap(copy, part.length, part.length, moving, place)
    };
    (moved == place).then_some(())
}

/// Whether a part's bytes are still those of the file.
fn is_as_in_file(part: &Mapping, file: &OwnedFd) -> Option<bool> {
    // SAFETY: a new read-only mapping, at an address that the kernel chooses.
    let view = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            part.length,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            part.offset,
        )
    };
    if view == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: both ranges are mapped and readable over their length, and nobody writes to them meanwhile; the view is
    // taken away after its last use.
    let same = unsafe {
        let mine = std::slice::from_raw_parts(part.start as *const u8, part.length);
        let same = mine == std::slice::from_raw_parts(view.cast::<u8>(), part.length);
        libc::munmap(view, part.length);
        same
    };
    Some(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_of_the_program_cannot_be_changed() {
        use std::io::Write;
        assert!(!is_sealed());
        let copy = std::fs::File::from(sealed_copy().unwrap());
        let length = |path: &str| std::fs::metadata(path).unwrap().len();
        assert_eq!(copy.metadata().unwrap().len(), length("/proc/self/exe"));
        assert!((&copy).write_all(b"x").is_err() && copy.set_len(0).is_err());
        let path = path::of_fd(copy.as_fd());
        let mut anew = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        assert!(anew.write_all(b"x").is_err());
    }

    #[test]
    fn the_programs_own_mappings_are_found() {
        let maps = "7f00-8000 r--p 00000000 08:01 42   /bin/x y\n8000-a000 r-xp 00100000 08:01 42   /bin/x y\n\
                    a000-b000 rw-p 00000000 00:00 0\nb000-c000 r-xp 00000000 08:01 43   /lib/c\n";
        let found = mappings(maps, "/bin/x y").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[1],
            Mapping {
                start: 0x8000,
                length: 0x2000,
                protection: libc::PROT_READ | libc::PROT_EXEC,
                offset: 0x10_0000
            }
        );
        assert_eq!(mappings(maps, "/bin/z"), None);
        assert_eq!(mappings("1-2 rw-s 0 08:01 4 /x", "/x"), None);
    }
}
