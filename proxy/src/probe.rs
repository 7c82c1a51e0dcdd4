//! The entrances of fuzz targets to what needs a configuration.

use std::cell::OnceCell;

pub use crate::{config::probe::probe_config, http::probe::probe_response};
use crate::{
    config::{Config, probe::example},
    http::{RequestSettings, probe, probe::RequestProbe},
};

/// Takes bytes as a path, under all settings for paths.
pub fn probe_path(bytes: &[u8]) -> Result<(), String> {
    thread_local! {
        static SETTINGS: Vec<RequestSettings> = path_settings().collect();
    }
    let Ok(path) = std::str::from_utf8(bytes) else { return Ok(()) };
    SETTINGS.with(|all| all.iter().try_for_each(|settings| probe::probe_path(path, settings)))
}

fn path_settings() -> impl Iterator<Item = RequestSettings> {
    let actions =
        ["REJECT_REQUEST", "KEEP_UNCHANGED", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"];
    let flags = [(true, true), (true, false), (false, true), (false, false)];
    let settings = move |action| {
        flags.into_iter().map(move |(normalize, merge)| {
            format!(
                "path_with_escaped_slashes_action: {action}\nnormalize_path: {normalize}\n\
                 merge_slashes: {merge}\n"
            )
        })
    };
    actions.into_iter().flat_map(settings).filter_map(|yaml| Some(config(&yaml)?.http))
}

/// Takes bytes as the requests of a connection.
pub fn probe_request(bytes: &[u8]) -> Result<(), String> {
    thread_local! {
        static PROBE: OnceCell<RequestProbe> = const { OnceCell::new() };
    }
    let new = || {
        let config = config("headers_with_underscores_action: ALLOW\n")?;
        let route = config.routes.into_iter().next()?;
        Some(RequestProbe::new(config.http, route.http, route.matcher))
    };
    PROBE.with(|probe| {
        if probe.get().is_none() {
            let new = new().ok_or("the example is no configuration")?;
            let _ = probe.set(new);
        }
        probe.get().map_or(Ok(()), |one| probe::probe_request(bytes, one))
    })
}

/// A configuration with one route and more settings.
fn config(settings: &str) -> Option<Config> {
    example(&format!(
        "{settings}insecure_server: true\nroutes:\n- from: https://*\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_access: true\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(corpus: &str, probe: fn(&[u8]) -> Result<(), String>) -> usize {
        let corpus = format!("{}/../fuzz/corpus/{corpus}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path());
        files
            .map(|path| {
                let probed = probe(&std::fs::read(&path).unwrap());
                assert_eq!(probed, Ok(()), "{}", path.display());
            })
            .count()
    }

    #[test]
    fn the_fuzz_corpus_of_paths_has_normal_forms() {
        assert_eq!(path_settings().count(), 16);
        assert!(replay("path", probe_path) >= 8);
    }

    #[test]
    fn the_fuzz_corpus_of_requests_is_stripped() {
        assert!(replay("request", probe_request) >= 8);
    }

    #[test]
    fn the_fuzz_corpus_of_responses_is_framed() {
        assert!(replay("response", probe_response) >= 8);
    }

    #[test]
    fn the_fuzz_corpus_of_configurations_is_told_what_is_wrong() {
        assert!(replay("config", probe_config) >= 8);
    }
}
