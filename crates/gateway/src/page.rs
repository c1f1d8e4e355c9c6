//! The page: files that the binary has in it, so that it needs no network and no folder beside it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

/// A file of the page.
#[derive(Clone, Debug)]
pub(crate) struct PageFile {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: &'static [u8],
    /// Of the content, with its quotes: another build with another content has another one.
    pub(crate) etag: String,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// What browsers may do for the page, and for every other answer: nothing but ask this service.
pub(crate) const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

macro_rules! files {
    ($($path:literal is $name:literal, $media_type:expr;)*) => {
        &[$(($path, $name, $media_type, include_bytes!(concat!("../page/", $name)))),*]
    };
}

type Entry = (&'static str, &'static str, &'static str, &'static [u8]);

/// The path at the service, the file's name, its type and content.
const FILES: &[Entry] = files! {
    "/" is "index.html", HTML;
    "/job" is "job.html", HTML;
    "/page/base.css" is "base.css", STYLE;
    "/page/views.css" is "views.css", STYLE;
    "/page/icon.svg" is "icon.svg", PICTURE;
    "/page/api.js" is "api.js", SCRIPT;
    "/page/card.js" is "card.js", SCRIPT;
    "/page/chart.js" is "chart.js", SCRIPT;
    "/page/connection.js" is "connection.js", SCRIPT;
    "/page/dom.js" is "dom.js", SCRIPT;
    "/page/estimate.js" is "estimate.js", SCRIPT;
    "/page/facts.js" is "facts.js", SCRIPT;
    "/page/format.js" is "format.js", SCRIPT;
    "/page/gantt.js" is "gantt.js", SCRIPT;
    "/page/history.js" is "history.js", SCRIPT;
    "/page/job.js" is "job.js", SCRIPT;
    "/page/layout.js" is "layout.js", SCRIPT;
    "/page/log.js" is "log.js", SCRIPT;
    "/page/machines.js" is "machines.js", SCRIPT;
    "/page/model.js" is "model.js", SCRIPT;
    "/page/overview.js" is "overview.js", SCRIPT;
    "/page/peers-worker.js" is "peers-worker.js", SCRIPT;
    "/page/peers.js" is "peers.js", SCRIPT;
    "/page/pulse.js" is "pulse.js", SCRIPT;
    "/page/shape.js" is "shape.js", SCRIPT;
    "/page/stream.js" is "stream.js", SCRIPT;
    "/page/table.js" is "table.js", SCRIPT;
    "/page/task.js" is "task.js", SCRIPT;
    "/page/theme.js" is "theme.js", SCRIPT;
    "/page/tree.js" is "tree.js", SCRIPT;
    "/page/watch.js" is "watch.js", SCRIPT;
};

static BY_PATH: LazyLock<HashMap<&'static str, PageFile>> = LazyLock::new(|| {
    let file = |&(path, _, media_type, bytes): &Entry| {
        let etag = etag(bytes);
        let file = PageFile {
            media_type,
            bytes,
            etag,
        };
        (path, file)
    };
    FILES.iter().map(file).collect()
});

/// The file at a path of the service, such as `/` or `/page/tree.js`.
pub(crate) fn file(path: &str) -> Option<&'static PageFile> {
    BY_PATH.get(path)
}

fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::Path};

    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let names: HashSet<String> = files
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        let embedded: HashSet<String> = FILES.iter().map(|(_, name, ..)| (*name).to_owned()).collect();
        assert_eq!(names, embedded);
    }

    #[test]
    fn paths_and_tags_are_of_one_file_each() {
        let paths: HashSet<_> = FILES.iter().map(|&(path, ..)| path).collect();
        assert_eq!(paths.len(), FILES.len());
        let tags: HashSet<_> = paths.iter().map(|path| &file(path).unwrap().etag).collect();
        assert_eq!(tags.len(), FILES.len());
        assert!(file("/page/../Cargo.toml").is_none());
        assert!(file("/page/").is_none());
    }

    #[test]
    fn documents_bear_the_policy() {
        for path in ["/", "/job"] {
            let html = text(file(path).unwrap().bytes);
            for forbidden in [
                " style=",
                "<style",
                "<script>",
                " onclick=",
                "javascript:",
                "http:",
                "https:",
            ] {
                assert!(!html.contains(forbidden), "{path} has {forbidden}");
            }
            let named = html.split('"').filter(|part| part.starts_with("/page/"));
            for name in named {
                assert!(file(name).is_some(), "{path} names {name}");
            }
        }
    }

    #[test]
    fn modules_import_what_is_there_and_make_no_markup_of_text() {
        for (path, _, media_type, bytes) in FILES {
            let script = text(bytes);
            let markup = [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ];
            for forbidden in markup {
                assert!(!script.contains(forbidden), "{path} has {forbidden}");
            }
            if *media_type != SCRIPT {
                continue;
            }
            let imports = script.split(" from './").skip(1);
            for name in imports.filter_map(|rest| rest.split('\'').next()) {
                assert!(file(&format!("/page/{name}")).is_some(), "{path} imports {name}");
            }
        }
    }
}
