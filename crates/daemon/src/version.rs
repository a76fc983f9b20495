//! API versions at the edge: reads the version of a request's path, refuses those that are not spoken, and says what
//! differs between them. No handler looks at a version but through this.

use gantry_api_types::compat::ApiVersion;
use gantry_errdefs::Error;
use http::Uri;
use http::uri::PathAndQuery;

/// Takes `/v1.NN` off a request's path. Without it the newest version is meant.
pub(crate) fn strip(uri: &Uri) -> Result<(ApiVersion, Uri), Error> {
    let path = uri.path();
    let Some((text, rest)) = path
        .strip_prefix("/v")
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return Ok((ApiVersion::NEWEST, uri.clone()));
    };
    // `/volumes` begins with a `v` too.
    let Ok(version) = text.parse::<ApiVersion>() else {
        return Ok((ApiVersion::NEWEST, uri.clone()));
    };
    if version > ApiVersion::NEWEST {
        return Err(Error::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            ApiVersion::NEWEST
        )));
    }
    if version < ApiVersion::OLDEST {
        return Err(Error::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {}, please upgrade your client to a \
             newer version",
            ApiVersion::OLDEST
        )));
    }
    let target = match uri.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    let mut parts = uri.clone().into_parts();
    let target = PathAndQuery::try_from(target).map_err(|e| Error::invalid(format!("invalid path: {e}")))?;
    parts.path_and_query = Some(target);
    let uri = Uri::from_parts(parts).map_err(|e| Error::invalid(format!("invalid path: {e}")))?;
    Ok((version, uri))
}

/// The media type of a container's output: raw with a terminal, otherwise framed, which has its own name since 1.42.
pub(crate) fn output_type(version: ApiVersion, terminal: bool) -> &'static str {
    match terminal || version < ApiVersion::v1(42) {
        true => "application/vnd.docker.raw-stream",
        false => "application/vnd.docker.multiplexed-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(path: &str) -> Result<(ApiVersion, String), String> {
        strip(&path.parse().unwrap())
            .map(|(v, uri)| (v, uri.to_string()))
            .map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_path_may_name_a_version() {
        assert_eq!(stripped("/_ping"), Ok((ApiVersion::NEWEST, "/_ping".into())));
        assert_eq!(
            stripped("/v1.41/_ping?a=b"),
            Ok((ApiVersion::v1(41), "/_ping?a=b".into()))
        );
        assert_eq!(
            stripped("/volumes/v1.41"),
            Ok((ApiVersion::NEWEST, "/volumes/v1.41".into()))
        );
        assert_eq!(stripped("/version"), Ok((ApiVersion::NEWEST, "/version".into())));
        assert_eq!(stripped("/v1.40"), Ok((ApiVersion::v1(40), "/".into())));
    }

    #[test]
    fn versions_out_of_range_are_refused_in_dockers_words() {
        assert_eq!(
            stripped("/v1.99/info").unwrap_err(),
            "client version 1.99 is too new. Maximum supported API version is 1.50"
        );
        assert!(
            stripped("/v1.12/info")
                .unwrap_err()
                .starts_with("client version 1.12 is too old. Minimum supported")
        );
    }

    #[test]
    fn output_is_named_by_what_the_client_knows() {
        assert_eq!(
            output_type(ApiVersion::v1(41), false),
            "application/vnd.docker.raw-stream"
        );
        assert_eq!(
            output_type(ApiVersion::v1(42), false),
            "application/vnd.docker.multiplexed-stream"
        );
        assert_eq!(
            output_type(ApiVersion::v1(50), true),
            "application/vnd.docker.raw-stream"
        );
    }
}
