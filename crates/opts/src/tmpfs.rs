//! `--tmpfs path[:options]`. Which options there are is for the engine to say.

/// The path, and the options after the first colon.
pub fn parse(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        assert_eq!(
            super::parse("/run:size=1m,mode=755"),
            ("/run", "size=1m,mode=755")
        );
        assert_eq!(super::parse("/run"), ("/run", ""));
        assert_eq!(super::parse("/a:/b"), ("/a", "/b"));
    }
}
