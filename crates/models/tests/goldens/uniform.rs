//! Numbers that look drawn by chance and follow from a name, the same as in `formula.py`.

/// Numbers in [-1, 1) from a name: splitmix64 of the name's fnv1a64 hash plus the index.
pub(crate) fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..count as u64).map(move |index| {
        let z = seed.wrapping_add(index).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        (z >> 11) as f64 * (-53f64).exp2() * 2.0 - 1.0
    })
}
