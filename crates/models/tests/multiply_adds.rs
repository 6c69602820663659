//! Multiply-adds of Keras's and MONAI's networks, to the last; those of torchvision's are compared in `torchvision.rs`.

use std::collections::BTreeSet;

use models::{Architecture, NetworkConfig};
use tch::Device;

#[test]
fn networks_multiply_as_often_as_their_references() {
    let mut left: BTreeSet<_> = Architecture::ALL
        .into_iter()
        .map(Architecture::name)
        .filter(|name| name.starts_with("keras_") || name.ends_with("_3d") || name.starts_with("basic_unet"))
        .collect();
    for line in include_str!("goldens/multiply_adds.tsv").lines().skip(1) {
        let [name, extents, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let architecture: Architecture = name.parse().unwrap();
        let network = NetworkConfig::new(architecture)
            .with_classes(10)
            .build(Device::Cpu)
            .unwrap();
        let mut shape = vec![1, architecture.input().channels()];
        shape.extend(extents.split('x').map(|extent| extent.parse::<i64>().unwrap()));
        let found = network.describe(&shape).unwrap().multiply_adds();
        assert_eq!(found, expected.parse::<u64>().unwrap(), "{name} {extents}");
        assert!(left.remove(name), "{name}");
    }
    assert!(left.is_empty(), "{left:?}");
}
