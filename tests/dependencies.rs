//! The dependency rule of ARCHITECTURE.md: no library crate depends on another, only the root package composes them,
//! and libtorch is asked for only where it is meant to be.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const LIBRARIES: [&str; 6] = [
    "gradcam-core",
    "heatmap-filter",
    "heatmap-seg",
    "models",
    "scan-data",
    "seg-metrics",
];
const TORCH: [&str; 2] = ["tch", "torch-sys"];

/// The packages of the workspace by name.
fn packages() -> BTreeMap<String, Value> {
    packages_of(env!("CARGO_MANIFEST_DIR"))
}

/// The packages of the workspace in a folder by name, as `cargo metadata` describes their manifests.
fn packages_of(folder: &str) -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(folder)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages").iter();
    packages
        .map(|package| (text(&package["name"]).to_owned(), package.clone()))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The dependencies of every kind: normal, build and dev, on every platform.
fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"]
        .as_array()
        .expect("a package lists its dependencies")
        .iter()
}

#[test]
fn the_six_libraries_are_there() {
    let packages = packages();
    for name in LIBRARIES {
        assert!(packages.contains_key(name), "no package {name}");
    }
}

#[test]
fn only_the_root_package_composes_the_libraries() {
    for (name, package) in packages().iter().filter(|(name, _)| *name != "camseg") {
        for dependency in dependencies(package) {
            let other = text(&dependency["name"]);
            assert!(
                !LIBRARIES.contains(&other),
                "{name} depends on {other}; compose them in examples/ instead"
            );
        }
    }
}

#[test]
fn the_root_package_offers_no_library() {
    let root = &packages()["camseg"];
    let kinds = root["targets"]
        .as_array()
        .expect("a package lists its targets")
        .iter()
        .flat_map(|t| t["kind"].as_array());
    for kind in kinds.flatten().map(text) {
        assert!(
            !["lib", "rlib", "bin"].contains(&kind),
            "the root package has a target of kind {kind}"
        );
    }
}

#[test]
fn scoring_and_segmenting_know_no_libtorch() {
    let packages = packages();
    for name in ["heatmap-seg", "seg-metrics"] {
        for dependency in dependencies(&packages[name]) {
            let other = text(&dependency["name"]);
            assert!(!TORCH.contains(&other), "{name} depends on {other}");
        }
    }
}

#[test]
fn libtorch_is_a_default_feature_that_can_be_left_out() {
    let packages = packages();
    for name in ["gradcam-core", "heatmap-filter", "scan-data"] {
        let package = &packages[name];
        for dependency in dependencies(package).filter(|d| TORCH.contains(&text(&d["name"]))) {
            let other = text(&dependency["name"]);
            assert_eq!(dependency["optional"], true, "{name} cannot be built without {other}");
            assert!(
                dependency["kind"].is_null(),
                "{name} needs {other} beside its feature torch"
            );
        }
        let features = package["features"].as_object().expect("a package lists its features");
        let enabling = |dependency: &str| {
            let of = |list: &Value| {
                list.as_array()
                    .is_some_and(|list| list.iter().any(|item| item == dependency))
            };
            features
                .iter()
                .filter(|(_, list)| of(list))
                .map(|(feature, _)| feature.as_str())
                .collect::<Vec<_>>()
        };
        for other in TORCH {
            assert_eq!(
                enabling(&format!("dep:{other}")),
                ["torch"],
                "{name}: features that bring in {other}"
            );
        }
        assert_eq!(
            enabling("torch"),
            ["default"],
            "{name}: features that bring in libtorch"
        );
    }
}

#[test]
fn the_examples_for_other_frameworks_take_the_heatmaps_without_libtorch() {
    let packages = packages_of(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/other_frameworks"));
    assert!(packages.len() >= 4, "{:?}", packages.keys());
    for (name, package) in &packages {
        let ours: Vec<_> = dependencies(package)
            .filter(|dependency| LIBRARIES.contains(&text(&dependency["name"])))
            .collect();
        assert_eq!(ours.len(), 1, "{name}: {ours:?}");
        assert_eq!(ours[0]["name"], "gradcam-core", "{name}");
        assert_eq!(ours[0]["uses_default_features"], false, "{name}");
        assert_eq!(ours[0]["features"], serde_json::json!([]), "{name}");
    }
}
