//! `--cap-add` and `--cap-drop`: capabilities by name, with or without `CAP_`, or all of them.
//! Must not know which ones the kernel has.

/// All capabilities.
pub const ALL: &str = "ALL";

/// A name as the API takes it: upper case, with `CAP_`; `ALL` stays.
pub fn normalize(name: &str) -> String {
    let upper = name.trim().to_uppercase();
    if upper == ALL || upper.starts_with("CAP_") {
        return upper;
    }
    format!("CAP_{upper}")
}

/// Names normalized, sorted, each once.
pub fn normalize_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut out: Vec<String> = names.into_iter().map(normalize).collect();
    out.sort();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            normalize_all(["SYS_ADMIN", "net_raw", "all", "CAP_NET_RAW"]),
            ["ALL", "CAP_NET_RAW", "CAP_SYS_ADMIN"]
        );
    }
}
