//! How far training in single precision may be from training in double.

/// The largest difference of a tensor, as a part of its largest number, that this quantity of this network may have:
/// 10⁻⁴ where single precision can bear that, else four times the most that the reference itself had between its own
/// single and double precision (`make_single_precision.py`). A loss after a step may differ as much as gradients, along which the
/// step goes; one before it hangs on the logits alone.
pub(crate) fn tolerance(network: &str, quantity: &str) -> f64 {
    let measured = |quantity| -> f64 {
        let own = include_str!("single_precision.tsv").lines().find_map(|line| {
            let columns = line.split('\t').collect::<Vec<_>>();
            (columns[..2] == [network, quantity]).then(|| columns[2].parse().unwrap())
        });
        own.unwrap_or_else(|| panic!("{quantity} of {network} was not measured"))
    };
    let own = match quantity {
        "loss after a step" => measured("losses").max(measured("gradients")),
        "loss" => measured("logits"),
        _ => measured(quantity),
    };
    (4.0 * own).max(1e-4)
}
