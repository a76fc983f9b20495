//! A program's own memory.

use std::fs;

use crate::error::{Error, Result, check};

/// Gives back the pages of the running program's code and constants. The kernel has them in its cache and maps again what is
/// needed, so that a program which did much to start and then sleeps is as large as its sleep.
pub fn release_program() -> Result<()> {
    let failed = |source| Error::new("read /proc/self/maps", source);
    let maps = fs::read_to_string("/proc/self/maps").map_err(failed)?;
    let program = fs::read_link("/proc/self/exe").map_err(failed)?;
    let program = program.to_string_lossy().into_owned();
    for line in maps.lines().filter(|line| line.ends_with(&program)) {
        let mut words = line.split_ascii_whitespace();
        let range = words.next().and_then(|range| range.split_once('-'));
        let (Some((from, to)), Some(rights)) = (range, words.next()) else {
            continue;
        };
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (Some(from), Some(to)) = (number(from), number(to)) else {
            continue;
        };
        if !rights.starts_with("r-") {
            continue;
        }
        // SAFETY: the range is one mapping of the program's file which was never writable: it lies before or is the code,
        // and what the loader writes to lies behind that. Its pages equal the file, from which they are mapped again.
        let result = unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
        check(result, || "give back the program's pages".to_owned())?;
        if rights.starts_with("r-x") {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_program_goes_on_without_its_pages() {
        let before = format!("{:?}", std::env::current_exe());
        super::release_program().unwrap();
        assert_eq!(format!("{:?}", std::env::current_exe()), before);
    }
}
