//! Where things lie in the checkout.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::onnx_runtime;

/// The checkout that these commands work on.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from. cargo names the package's folder in the environment of what it
    /// runs; a binary started by hand falls back to the folder that it was compiled in.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .ancestors()
            .nth(2)
            .context("the package xtask lies outside a workspace")?;
        Ok(Self::at(root))
    }

    /// The workspace at a folder.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that cargo's configuration names: `target`, wherever `CARGO_TARGET_DIR` points.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The libtorch that `.cargo/config.toml` points every cargo command to.
    pub(crate) fn libtorch(&self) -> PathBuf {
        self.target().join("libtorch")
    }

    /// The library of ONNX Runtime that it points them to as well.
    pub(crate) fn onnx_runtime(&self) -> PathBuf {
        self.target().join("onnxruntime").join(onnx_runtime::LIBRARY)
    }
}
