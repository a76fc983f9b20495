//! Ids and names of containers: making them, judging them, finding one by what a user typed. Knows no container.

use gantry_errdefs::Error;

const ADJECTIVES: &[&str] = &[
    "agile", "amber", "balmy", "brisk", "calm", "clever", "cosy", "crisp", "daring", "deft", "dusty",
    "eager", "earnest", "fair", "fancy", "fleet", "fond", "gentle", "glad", "golden", "handy", "hardy",
    "humble", "ideal", "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "mild", "modest",
    "neat", "nimble", "noble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "rapid",
    "ready", "robust", "rosy", "serene", "sharp", "silver", "sleek", "smooth", "snug", "sober", "solid",
    "spry", "stable", "steady", "sturdy", "sunny", "swift", "tidy", "trusty", "vivid", "warm", "wise",
    "witty", "zesty",
];

const SURNAMES: &[&str] = &[
    "abel",
    "ampere",
    "babbage",
    "bernoulli",
    "bohr",
    "boole",
    "boyle",
    "cantor",
    "carson",
    "cauchy",
    "cayley",
    "chandra",
    "church",
    "coulomb",
    "curie",
    "darwin",
    "dijkstra",
    "dirac",
    "edison",
    "einstein",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goedel",
    "hamilton",
    "hamming",
    "heisenberg",
    "hilbert",
    "hoare",
    "hooke",
    "hopper",
    "hubble",
    "huygens",
    "jacobi",
    "joule",
    "kelvin",
    "kepler",
    "knuth",
    "lagrange",
    "lamarr",
    "laplace",
    "leibniz",
    "liskov",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "napier",
    "newton",
    "noether",
    "ohm",
    "pascal",
    "pasteur",
    "planck",
    "poincare",
    "ramanujan",
    "riemann",
    "sagan",
    "shannon",
    "tesla",
    "turing",
    "volta",
    "watt",
    "wiles",
    "wirth",
];

/// 64 hexadecimal digits from the kernel. Never all digits in the first twelve, so that the short form is no number.
pub(crate) fn new_id() -> Result<String, Error> {
    loop {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| Error::internal(format!("read random bytes: {e}")))?;
        let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        if id[..12].bytes().any(|b| !b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// A name like `quiet_turing`, chosen by `seed`; from the fourth `attempt` on with a digit behind it.
pub(crate) fn random(seed: u64, attempt: u32) -> String {
    let adjective = ADJECTIVES[(seed % ADJECTIVES.len() as u64) as usize];
    let rest = seed / ADJECTIVES.len() as u64;
    let surname = SURNAMES[(rest % SURNAMES.len() as u64) as usize];
    match attempt {
        0..=2 => format!("{adjective}_{surname}"),
        _ => format!("{adjective}_{surname}{}", rest / SURNAMES.len() as u64 % 10),
    }
}

/// The name without a leading slash. Docker's error for what is none.
pub(crate) fn validate(name: &str) -> Result<&str, Error> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bare.len() > 1 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest {
        return Ok(bare);
    }
    Err(Error::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// The id meant by `reference` among `(id, name)`: a whole id, else a name, else the only id that begins so.
pub(crate) fn resolve<'a>(
    reference: &str,
    known: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<&'a str, Error> {
    let bare = reference.strip_prefix('/').unwrap_or(reference);
    let (mut by_name, mut by_prefix, mut several) = (None, None, false);
    for (id, name) in known {
        if id == reference {
            return Ok(id);
        }
        if name == bare {
            by_name = Some(id);
        }
        if !reference.is_empty() && id.starts_with(reference) {
            several |= by_prefix.replace(id).is_some();
        }
    }
    match (by_name, by_prefix) {
        (Some(id), _) => Ok(id),
        (None, Some(_)) if several => Err(Error::invalid(format!(
            "multiple IDs found with provided prefix: {reference}"
        ))),
        (None, Some(id)) => Ok(id),
        (None, None) => Err(crate::fail::no_such_container(reference)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 64);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
        for seed in 0..10_000 {
            assert!(validate(&random(seed * 7919, (seed % 6) as u32)).is_ok());
        }
        for good in ["a1", "/ab", "a_b.c-d", "0x"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "-ab", "a b", "a/b", "ä1", "//ab"] {
            assert!(validate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn references() {
        let known = [("abc1", "web"), ("abc2", "abc"), ("def3", "db")];
        let find = |r: &str| resolve(r, known.iter().map(|(a, b)| (*a, *b))).map_err(|e| e.to_string());
        assert_eq!(find("abc1"), Ok("abc1"));
        assert_eq!(find("abc"), Ok("abc2"), "a name goes before a prefix");
        assert_eq!(find("/web"), Ok("abc1"));
        assert_eq!(find("d"), Ok("def3"));
        assert_eq!(
            find("ab").unwrap_err(),
            "multiple IDs found with provided prefix: ab"
        );
        assert_eq!(find("x").unwrap_err(), "No such container: x");
        assert_eq!(find("").unwrap_err(), "No such container: ");
    }
}
