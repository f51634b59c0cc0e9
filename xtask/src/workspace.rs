// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the workspace is and which Rust files are ours.

use std::path::{Path, PathBuf};

use crate::Failure;

/// A Rust file: path relative to the workspace with forward slashes, and its text.
pub(crate) struct RustFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The workspace this xtask was built from.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// All Rust files, sorted; build output, run results and hidden directories are left out.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<RustFile>, Failure> {
    let mut files = Vec::new();
    collect(root, root, &mut files)
        .map_err(|error| Failure::new(format!("cannot read the sources: {error}")))?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<RustFile>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') || matches!(name, "target" | "runs" | "corpus" | "artifacts") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let relative = relative
                .components()
                .map(|c| c.as_os_str().to_string_lossy());
            let relative = relative.collect::<Vec<_>>().join("/");
            files.push(RustFile {
                path: relative,
                text: std::fs::read_to_string(&path)?,
            });
        }
    }
    Ok(())
}
